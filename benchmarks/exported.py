"""What an exported guard costs, against the network and `judge`, and how it rounds.

    python benchmarks/exported.py                   # the tables of RESULTS.md
    python benchmarks/exported.py --networks lenet  # some of the networks
    python benchmarks/exported.py --quick           # a tiny one, to see that it runs

The guard has the recommended detector. Ratios are of CPU times measured in turn, round
by round, in one process; printed is the median over the rounds. ONNX Runtime is
compared with the network alone in ONNX Runtime, all else with the network in torch.
The last columns are CPU times of one `skgrad.export` each.
Networks have random weights, and guards are fitted on random inputs: neither matters to
the time.

The second table has the largest differences of scores, as they are and in interquartile
ranges of the calibration scores, and of the network's own logits, in their standard
deviation over the inputs. The demo is the network of the guide, trained on digits; its
guard judges 450 of them and 50 photo patches, that of the others 60 random inputs.
"""

import copy
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from engine import Ways, paired_seconds, quartiles
from latency import draw, head, make_network, milliseconds, print_tables, row

import skgrad
from skgrad.datasets import load_digits_images, make_photo_patches
from skgrad.evaluation import train_digits_network
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


def tables(networks, options):
    """Yield the lines of both tables."""
    yield from times(networks, options)
    yield ""
    yield from roundings(networks, options)


def times(networks, options):
    """Yield the rows of the table of times."""
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


def roundings(networks, options):
    """Yield the rows of the table of differences."""
    heads = "logits / deviation", "scores / range", "scores"
    yield from head(["network", "what", "beside", *heads])
    for name in [*networks, *([] if options.quick else ["demo"])]:
        for pair, (logits, scores), spreads in differences(*judged_by(name, options)):
            shown = logits / spreads[0], scores / spreads[1], scores
            yield row([name, *pair, *(f"{values.max():.1e}" for values in shown)])


def judged_by(name, options):
    """Return a network, inputs for the fit of a guard, and others to judge."""
    if name != "demo":
        net, shape = make_network(name)
        X = draw(options.n_fit + 60, shape)
        return net, X[: options.n_fit], X[options.n_fit :]
    digits = load_digits_images()
    net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
    patches = make_photo_patches(50, random_state=0)
    return net.module_, digits.X_fit, np.concatenate([digits.X_test, patches])


def differences(net, X_fit, X):
    """Yield two ways to judge, by how much logits and scores differ, and their spreads.

    With a network of float64 they show what of it is not the network's own rounding.
    ONNX Runtime has no convolution of float64 on a CPU, the module has.
    """
    guard = skgrad.GuardedClassifier(net, random_state=0).fit(X_fit)
    module = GuardModule(guard)
    module.features.network.double()
    exact = asked_module(module, X)
    spreads = exact[0].std(axis=0).mean(), spread(guard.calibration_scores_)
    judge, onnx = "judge", "ONNX Runtime"
    answers = {
        judge: asked(guard, X),
        "judge, one at a time": joined(asked(guard, x[None]) for x in X),
        onnx: asked_onnx(guard, X),
        "float64": exact,
    }
    for pair in (
        (onnx, judge),
        ("judge, one at a time", judge),
        (judge, "float64"),
        (onnx, "float64"),
    ):
        yield pair, off(*(answers[name] for name in pair)), spreads
    doubled = skgrad.GuardedClassifier(copy.deepcopy(net).double(), random_state=0)
    X_fit, X = X_fit.astype("f8"), X.astype("f8")
    doubled.fit(X_fit)
    pair = "GuardModule, float64", f"{judge}, float64"
    yield pair, off(asked_module(GuardModule(doubled), X), asked(doubled, X)), spreads


def asked(guard, X):
    """Return logits and scores."""
    return skgrad.predict_logits(guard.model, X), guard.judge(X).score


def asked_module(module, X):
    """Return the same from a module of torch."""
    with torch.no_grad():
        return [answer.numpy() for answer in module(torch.from_numpy(X))[:2]]


def asked_onnx(guard, X):
    """Return the same from a file of ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "guard.onnx")
        skgrad.export(guard, path)
        return onnxruntime.InferenceSession(path).run(None, {"input": X})[:2]


def joined(answers):
    """Return the answers to single inputs as those to all."""
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def off(one, other):
    """Return the differences of logits and scores."""
    return [np.abs(a - b) for a, b in zip(one, other, strict=True)]


def spread(scores):
    """Return the interquartile range."""
    return np.subtract(*np.quantile(scores, [0.75, 0.25]))


def main(arguments=None):
    """Print the tables."""
    how = {"about": __doc__, "rounds": 60, "quick_rounds": 2}
    print_tables(tables, NETWORKS, QUICK, arguments, **how)


if __name__ == "__main__":
    main()
