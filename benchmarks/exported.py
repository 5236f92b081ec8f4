"""What an answer costs once a guard is exported, against the network and `judge`.

    python benchmarks/exported.py                   # the table of RESULTS.md
    python benchmarks/exported.py --networks lenet  # some of the networks
    python benchmarks/exported.py --quick           # a tiny one, to see that it runs

The guard has the recommended detector. Ratios are of CPU times measured in turn, round
by round, in one process; printed is the median over the rounds. ONNX Runtime is
compared with the network alone in ONNX Runtime, all else with the network in torch.
The last columns are CPU times of one `skgrad.export` each.
Networks have random weights, and guards are fitted on random inputs: neither matters to
the time.
"""

import tempfile
import time
from pathlib import Path

import onnxruntime
import torch
from engine import Ways, paired_seconds, quartiles
from latency import draw, head, make_network, milliseconds, print_tables, row

import skgrad
from skgrad.guard import GuardModule

# Name of the network -> batch sizes.
NETWORKS = {"lenet": ((1, 8),), "resnet18": ((1, 8),), "vit_small": ((1, 8),)}
QUICK = {"tiny": ((1,),)}
# Each way, and what it is divided by.
RATIOS = {
    "judge": "forward",
    "module": "forward",
    "program": "forward",
    "onnx": "onnx_forward",
}


class Requests(Ways):
    """All ways to get answers of one guard about one batch."""

    def __init__(self, net, shape, n_fit, n_threads):
        self.net, self.shape = net, shape
        self.guard = skgrad.GuardedClassifier(net, random_state=0)
        self.guard.fit(draw(n_fit, shape))
        self.in_torch = GuardModule(self.guard)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "guard.pt2")
            self.to_torch = self.write(path, format="torch")
            self.loaded = torch.export.load(path).module()
            path = Path(folder, "guard.onnx")
            self.to_onnx = self.write(path)
            self.session = onnxruntime.InferenceSession(path, options)
            path = Path(folder, "network.onnx")
            axes = ({0: torch.export.Dim.DYNAMIC},)
            torch.onnx.export(
                net,
                (torch.zeros(2, *shape),),
                f=path,
                dynamo=True,
                external_data=False,
                dynamic_shapes=axes,
                verbose=False,
            )
            self.alone = onnxruntime.InferenceSession(path, options)

    def write(self, path, **options):
        """Export the guard, and return the seconds of CPU time that took."""
        start = time.process_time()
        skgrad.export(self.guard, path, **options)
        return time.process_time() - start

    def take(self, n_samples):
        """Take a batch of this size to ask about."""
        self.X = draw(n_samples, self.shape)
        self.x = torch.from_numpy(self.X)

    def judge(self):
        """Ask the guard itself."""
        return self.guard.judge(self.X)

    def module(self):
        """Ask its module."""
        with torch.no_grad():
            return self.in_torch(self.x)

    def program(self):
        """Ask what was loaded from a file of torch."""
        with torch.no_grad():
            return self.loaded(self.x)

    def onnx(self):
        """Ask ONNX Runtime."""
        return self.session.run(None, {"input": self.X})

    def onnx_forward(self):
        """Run the network alone in ONNX Runtime."""
        name = self.alone.get_inputs()[0].name
        return self.alone.run(None, {name: self.X})


def table(networks, options):
    """Yield the rows of the table."""
    yield from head(
        [
            *("network", "batch", "forward", "judge / forward"),
            *("GuardModule / forward", "file of torch / forward"),
            *("forward, ONNX", "file of ONNX / forward, ONNX"),
            *("writing: torch", "ONNX"),
        ]
    )
    for network, (sizes,) in networks.items():
        asked = Requests(*make_network(network), options.n_fit, options.threads)
        for n_samples in sizes:
            asked.take(n_samples)
            ways = ["forward", "onnx_forward", *RATIOS]
            seconds = paired_seconds(asked, ways, options.rounds, time.process_time)
            ratios = {
                way: f"{quartiles(seconds, way, reference)[1]:.2f}"
                for way, reference in RATIOS.items()
            }
            cells = [network, n_samples, milliseconds(seconds["forward"])]
            cells += [ratios[way] for way in ("judge", "module", "program")]
            cells += [milliseconds(seconds["onnx_forward"]), ratios["onnx"]]
            yield row([*cells, f"{asked.to_torch:.1f} s", f"{asked.to_onnx:.1f} s"])


def main(arguments=None):
    """Print the table."""
    how = {"about": __doc__, "rounds": 60, "quick_rounds": 2}
    print_tables(table, NETWORKS, QUICK, arguments, **how)


if __name__ == "__main__":
    main()
