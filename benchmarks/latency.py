"""What a request costs: the answer of a detector against that of the network itself.

    python benchmarks/latency.py                       # the tables of RESULTS.md
    python benchmarks/latency.py --networks lenet mlp  # some of the networks
    python benchmarks/latency.py --quick               # a tiny one, to see that it runs

Ratios are of CPU times measured in turn, round by round, in one process; printed is the
median over the rounds. CPU time leaves out what other processes take of a busy machine;
with several threads it is the sum over them. Networks have random weights, detectors
are fitted on random inputs: neither matters to the time.
"""

import argparse
import statistics
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial

import engine
import grid_search
import numpy as np
import torch
from engine import Ways, describe, paired_seconds, quartiles
from threadpoolctl import threadpool_limits

import skgrad
from skgrad.torch_engine.model_state import frozen

# Name of the network -> batch sizes, and the layer that paper C's detector looks at.
NETWORKS = {
    "mlp": ((1, 8), "0"),
    "lenet": ((1, 8, 64), "0"),
    "mobilenet_v3_small": ((1, 8, 64), "features.4"),
    "resnet18": ((1, 8, 64), "layer2"),
}
QUICK = {"tiny": ((1, 4), "0")}
# The largest ratios asked for, of a network and a batch size.
UNIFORM_GOALS = {
    ("resnet18", 1): 1.2,
    ("mobilenet_v3_small", 1): 1.6,
    ("lenet", 1): 2.5,
}
JUDGING_GOALS = {("resnet18", 1): 1.3}
HOLDING_GOALS = {"mobilenet_v3_small": 2}  # milliseconds


def make_network(name):
    """Return a network with random weights, and its inputs' shape."""
    if name == "lenet":
        return grid_search.make_network(name)
    return engine.make_network(name)[:2]


def draw(n_samples, shape):
    """Draw inputs in [0, 1]."""
    return np.random.default_rng(0).random((n_samples, *shape), dtype=np.float32)


def make_detectors(net, layer):
    """Return a detector of each recipe, by name."""
    make_uniform = partial(skgrad.make_uniform_detector, layers=layer)
    makers = {
        "recommended": skgrad.make_recommended_detector,
        "uniform": make_uniform,
        "confounding": skgrad.make_confounding_gradient_detector,
        "geometric": skgrad.make_geometric_gradient_detector,
    }
    detectors = {name: make(net, random_state=0) for name, make in makers.items()}
    detectors["confounding"].set_params(classify__max_epochs=2)
    return detectors


def labels_for(name, X):
    """Return labels for the recipe that learns from some."""
    return np.arange(len(X)) % 2 if name == "confounding" else None


class Requests(Ways):
    """All ways to ask the same network, and detectors around it, about one batch."""

    def __init__(self, net, shape, layer, n_fit):
        self.net = net
        self.shape = shape
        self.parameters = dict(net.named_parameters())
        self.detectors = make_detectors(net, layer)
        del self.detectors["geometric"]  # what it costs is a matter of the classes
        del self.detectors["recommended"]  # the guard has it
        X = draw(n_fit, shape)
        for name, detector in self.detectors.items():
            detector.fit(X, labels_for(name, X))
        self.guard = skgrad.GuardedClassifier(net, random_state=0).fit(X)
        self.detectors["recommended"] = self.guard.detector_

    def take(self, n_samples):
        """Take a batch of this size to ask about."""
        self.X = draw(n_samples, self.shape)
        self.x = torch.from_numpy(self.X)
        self.features = {
            name: detector[:-1].transform(self.X)
            for name, detector in self.detectors.items()
        }
        self.passes = []
        watch = self.net.register_forward_pre_hook(
            lambda _, inputs: self.passes.append(inputs[0].detach().clone())
        )
        self.guard.judge(self.X)
        watch.remove()

    def judge(self):
        """Ask the guard for class, score, p-value and trust."""
        return self.guard.judge(self.X)

    def passes_of_judge(self):
        """Run the network on what `judge` runs it on, nothing else."""
        with torch.no_grad():
            return [self.net(x) for x in self.passes]

    def recommended(self):
        """Ask the recommended detector."""
        return self.detectors["recommended"].predict(self.X)

    def uniform(self):
        """Ask paper C's detector, with one layer and the logits."""
        return self.detectors["uniform"].predict(self.X)

    def confounding(self):
        """Ask paper A's detector."""
        return self.detectors["confounding"].predict(self.X)

    def recommended_half(self):
        """Ask the recommended detector about features that are there already."""
        return self.detectors["recommended"][-1].predict(self.features["recommended"])

    def uniform_half(self):
        """Ask paper C's detector about features that are there already."""
        return self.detectors["uniform"][-1].predict(self.features["uniform"])

    def holding(self):
        """Hold the network still and let it go, as every call does once."""
        with frozen(self.net, parameter_gradients=True):
            pass


# Paired with what they are divided by, and the ratios asked for.
RATIOS = {
    # It takes two or three forward passes, and no backward pass.
    "recommended": ("forward", {}),
    "uniform": ("forward", UNIFORM_GOALS),
    "confounding": ("plain", {}),
}
WAYS = ["forward", "plain", *RATIOS, "recommended_half", "uniform_half"]


def tables(networks, options):
    """Yield the rows of all tables."""
    requests = {
        name: Requests(*make_network(name), layer, options.n_fit)
        for name, (_, layer) in networks.items()
    }
    yield from latency_table(requests, networks, options.rounds)
    yield ""
    yield from judging_table(requests, networks, options.rounds)
    yield ""
    yield from holding_table(requests, options.rounds)
    yield ""
    yield from passes_table("tiny" if options.quick else "lenet", options.n_fit)


def latency_table(requests, networks, rounds):
    """Yield the rows of the table of whole requests."""
    heads = [
        *("network", "batch", "forward", "forward + backward"),
        *("recommended / forward", "paper C / forward", "goal"),
        "paper A / forward + backward",
        *("recommended, features given", "paper C, features given"),
    ]
    yield from head(heads)
    for network, (sizes, _) in networks.items():
        for n_samples in sizes:
            asked = requests[network]
            asked.take(n_samples)
            turns = rounds if n_samples > 8 else 8 * rounds
            seconds = paired_seconds(asked, WAYS, turns, time.process_time)
            cells = [network, n_samples]
            cells += [milliseconds(seconds[way]) for way in WAYS[:2]]
            for way, (reference, goals) in RATIOS.items():
                cells.append(f"{quartiles(seconds, way, reference)[1]:.2f}")
                if goals:
                    cells.append(goal(goals, (network, n_samples)))
            cells += [milliseconds(seconds[way]) for way in WAYS[-2:]]
            yield row(cells)


def judging_table(requests, networks, rounds):
    """Yield the rows of the table of a guard's answers."""
    heads = ["network", "batch", "judge", "passes", "judge / its passes", "goal"]
    yield from head(heads)
    for network, (sizes, _) in networks.items():
        for n_samples in sizes:
            asked = requests[network]
            asked.take(n_samples)
            turns = rounds if n_samples > 8 else 8 * rounds
            ways = ["judge", "passes_of_judge"]
            seconds = paired_seconds(asked, ways, turns, time.process_time)
            yield row(
                [
                    *(network, n_samples, milliseconds(seconds["judge"])),
                    " + ".join(str(len(x)) for x in asked.passes),
                    f"{quartiles(seconds, *ways)[1]:.2f}",
                    goal(JUDGING_GOALS, (network, n_samples)),
                ]
            )


def holding_table(requests, rounds):
    """Yield the rows of the table of the fixed price of a call."""
    yield from head(["network", "holding it once", "goal in ms", "within `hold`"])
    for network, asked in requests.items():
        cells = [network, held_for(asked, rounds), goal(HOLDING_GOALS, network)]
        with skgrad.hold(asked.net):
            yield row([*cells, held_for(asked, rounds)])


def held_for(asked, rounds):
    """Return the median time that holding the network takes."""
    asked.take(1)
    return milliseconds(
        paired_seconds(asked, ["holding"], 8 * rounds, time.process_time)["holding"]
    )


def passes_table(network, n_samples):
    """Yield the rows of the table of samples that pass through the network."""
    both = ["forward", "backward"]
    heads = [f"{call}, {way}" for call in ("fit", "predict") for way in both]
    yield from head([f"{network}, {n_samples} inputs", *heads])
    net, shape = make_network(network)
    X = draw(n_samples, shape)
    for name, detector in make_detectors(net, "0").items():
        cells = [name]
        fit = partial(detector.fit, X, labels_for(name, X))
        for call in (fit, partial(detector.predict, X)):
            with counted_passes(net) as passes:
                call()
            cells += [passes[way] for way in both]
        yield row(cells)


@contextmanager
def counted_passes(net):
    """Count the samples that go forward through a network, and back."""
    passes = Counter()

    # At the start, because a pass for an early layer may end before the logits.
    def begins(_, inputs):
        passes["forward"] += len(inputs[0])

    def ends(_, __, logits):
        if logits.requires_grad:
            logits.register_hook(goes_back)

    def goes_back(gradient):
        passes["backward"] += len(gradient)

    hooks = net.register_forward_pre_hook(begins), net.register_forward_hook(ends)
    yield passes
    for hook in hooks:
        hook.remove()


def head(cells):
    """Yield the first two lines of a table."""
    yield row(cells)
    yield "|---" * len(cells) + "|"


def row(cells):
    """Return a line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def goal(goals, key):
    """Return what is asked for as a cell."""
    return f"<= {goals[key]}" if key in goals else ""


def milliseconds(seconds):
    """Return the median of times as a cell."""
    return f"{1000 * statistics.median(seconds):.2f} ms"


def print_tables(tables, networks, quick, arguments, *, about, rounds, quick_rounds):
    """Read the options, and print the tables of the networks that they ask for.

    ``networks`` and those of a ``quick`` run hold, first, the sizes of batches by name.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument(
        "--networks", nargs="+", choices=networks, default=list(networks)
    )
    parser.add_argument("--n-fit", type=int, default=300, help="inputs to fit on")
    parser.add_argument("--rounds", type=int, default=rounds, help="of measuring")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    networks = {name: networks[name] for name in options.networks}
    if options.quick:
        networks, options.n_fit, options.rounds = quick, 120, quick_rounds
    torch.set_num_threads(options.threads)
    options.network, options.device = "random weights", "cpu"
    sizes = sorted({n for sizes, *_ in networks.values() for n in sizes})
    options.n_samples = " or ".join(map(str, sizes))
    print(describe(options), end="\n\n")
    # Of the libraries that numpy and scikit-learn compute with, too.
    with threadpool_limits(options.threads):
        for line in tables(networks, options):
            print(line, flush=True)


def main(arguments=None):
    """Print the tables."""
    # Of small batches there are eight times as many rounds.
    how = {"about": __doc__, "rounds": 15, "quick_rounds": 1}
    print_tables(tables, NETWORKS, QUICK, arguments, **how)


if __name__ == "__main__":
    main()
