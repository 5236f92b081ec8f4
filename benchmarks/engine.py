"""Time and memory of the torch engine against the ways that others compute the same.

    python benchmarks/engine.py                 # the first table of RESULTS.md
    python benchmarks/engine.py --others        # the second
    python benchmarks/engine.py --device cuda   # the same on a GPU
    python benchmarks/engine.py --quick         # a tiny network, to see that it runs

Every figure is a ratio of times measured in turn, round by round, and the median over
the rounds: the machine's own speed and its drift cancel. Memory is the growth of the
peak over what the model and the batch take, each way in a separate process.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
from engine_networks import draw_batch, make_network
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F  # noqa: N812

from skgrad.torch_engine.cosines import Maps
from skgrad.torch_engine.cotangents import label_cotangents
from skgrad.torch_engine.gradient_routes import find_routes
from skgrad.torch_engine.model_state import frozen
from skgrad.torch_engine.network_pass import NetworkPass, Wanted
from skgrad.torch_engine.pooling import LayerOutput
from skgrad.torch_engine.probe import Probe
from skgrad.torch_engine.reach import routes_that_pay

ALL_ONES = partial(label_cotangents, label="all", loss="bce")


def confounding_loss(logits):
    """Return the binary cross-entropy between logits and ones, summed."""
    ones = torch.ones_like(logits)
    return F.binary_cross_entropy_with_logits(logits, ones, reduction="sum")


class Ways:
    """All ways to compute the same things of one network and batch."""

    def __init__(self, network, n_samples, device):
        net, shape, self.layers = make_network(network)
        self.net = net.to(device)
        self.x = draw_batch(network, n_samples, shape).to(device)
        self.parameters = dict(self.net.named_parameters())
        self.routes = self.channels_last = None

    def forward(self):
        """Run the network, nothing else."""
        with torch.no_grad():
            return self.net(self.x)

    def plain(self):
        """One forward pass and one backward pass to all parameters, summed."""
        return torch.autograd.grad(self.loss(self.x), list(self.parameters.values()))

    def input_only(self):
        """One forward pass and one backward pass to the input alone."""
        with frozen(self.net), torch.enable_grad():
            leaf = self.x.clone().requires_grad_()
            return torch.autograd.grad(self.loss(leaf), leaf)

    def loss(self, x):
        """Return the paper's confounding loss, summed over samples."""
        return confounding_loss(self.net(x))

    def norms(self):
        """Compute the norms with skgrad, routes known as in ``transform``."""
        with frozen(self.net, parameter_gradients=True):
            if self.routes is None:
                probe = Probe(self.net, self.x, norms=True)
                found = find_routes(probe, ALL_ONES)
                self.routes = routes_that_pay(probe, found)
                self.channels_last = probe.channels_last
            wanted = Wanted(routes=self.routes, channels_last=self.channels_last)
            run = NetworkPass(self.net, self.x, wanted)
            return run.gradient_norms(ALL_ONES, self.routes)

    def norms_by_loop(self):
        """Compute the norms with one backward pass per sample."""
        rows = []
        for one in self.x.split(1):
            gradients = torch.autograd.grad(
                self.loss(one), list(self.parameters.values())
            )
            rows.append(torch.stack([g.square().sum() for g in gradients]))
        return torch.stack(rows)

    def norms_by_vmap(self):
        """Compute the norms with torch.func: per-sample gradients, then squares."""

        def loss(parameters, one):
            return confounding_loss(functional_call(self.net, parameters, (one[None],)))

        detached = {name: p.detach() for name, p in self.parameters.items()}
        gradients = vmap(grad(loss), in_dims=(None, 0))(detached, self.x)
        return torch.stack(
            [g.flatten(1).square().sum(dim=1) for g in gradients.values()], dim=1
        )

    def cosines(self):
        """Compute the cosine matrices with skgrad."""
        with frozen(self.net):
            if self.channels_last is None:
                probe = Probe(self.net, self.x[:3], inputs=True)
                self.channels_last = probe.channels_last
            wanted = Wanted(inputs=True, channels_last=self.channels_last)
            return NetworkPass(self.net, self.x, wanted).cosines(Maps())

    def cosines_by_full_passes(self):
        """Compute the saliency maps with full backward passes, one per class."""
        leaf = self.x.clone().requires_grad_()
        logits = self.net(leaf)
        maps = []
        for label in range(logits.shape[1]):
            classes = torch.full((len(leaf),), label, device=leaf.device)
            loss = F.cross_entropy(logits, classes, reduction="sum")
            leaf.grad = None
            loss.backward(retain_graph=True)
            maps.append(leaf.grad.sign().flatten(1))
        self.net.zero_grad()
        unit = F.normalize(torch.stack(maps, dim=1), dim=2)
        return unit @ unit.transpose(1, 2)

    def activations(self):
        """Compute the pooled outputs of three layers with skgrad."""
        with frozen(self.net):
            outputs = tuple(LayerOutput(name, "mean") for name in self.layers)
            return NetworkPass(self.net, self.x, Wanted(outputs)).outputs(outputs)


def paired_seconds(ways, names, rounds, clock=time.perf_counter):
    """Return the seconds of each way, round by round, after one round to warm up."""
    seconds = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names:
            synchronize(ways.x.device)
            start = clock()
            getattr(ways, name)()
            synchronize(ways.x.device)
            if turn:
                seconds[name].append(clock() - start)
    return seconds


def quartiles(seconds, way, reference):
    """Return the quartiles of the ratios of two ways over the rounds."""
    pairs = zip(seconds[way], seconds[reference], strict=True)
    return statistics.quantiles([a / b for a, b in pairs], n=4)


def synchronize(device):
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_growth(ways, name):
    """Return the bytes by which a way raises the peak above what is held before."""
    run = getattr(ways, name)
    with torch.no_grad():
        ways.net(ways.x[:1])  # libraries and their workspaces
    if ways.x.device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak (Linux)
    before = status_bytes("VmRSS")
    run()
    return status_bytes("VmHWM") - before


def status_bytes(field):
    """Read a field of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise KeyError(field)


def peak_in_own_process(name, arguments):
    """Return the growth of the peak of one way, measured in a fresh process."""
    command = [sys.executable, __file__, "--peak-of", name]
    for option in ("network", "n_samples", "device", "threads"):
        value = str(getattr(arguments, option))
        command += [f"--{option.replace('_', '-')}", value]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)


# What is compared with what, and the ratio asked for.
TIMES = [
    ("gradient norms / plain forward + backward", "norms", "plain", "<= 0.95"),
    ("forward + backward to the input alone / plain", "input_only", "plain", "floor"),
    ("per-sample loop / gradient norms", "norms_by_loop", "norms", ">= 4.5"),
    ("vmap(grad) / gradient norms", "norms_by_vmap", "norms", ">= 3"),
    (
        "full backward passes / cosine matrices",
        "cosines_by_full_passes",
        "cosines",
        ">= 2.5",
    ),
    ("cosine matrices / forward pass", "cosines", "forward", "<= 13.5"),
    ("activations of three layers / forward pass", "activations", "forward", "<= 1.1"),
]
MEMORY = [
    ("peak memory: gradient norms / plain", "norms", "plain", "<= 1.5"),
    ("peak memory: per-sample loop / gradient norms", "norms_by_loop", "norms", ""),
    ("peak memory: vmap(grad) / gradient norms", "norms_by_vmap", "norms", ""),
]


def table(ways, arguments):
    """Yield the rows of the table."""
    yield "| what | ratio | quartiles | goal |"
    yield "|---|---|---|---|"
    # Cosines of many classes take long, and what is left does not need them.
    rows = [row for row in TIMES if not arguments.norms or row[2] in ("plain", "norms")]
    ways_timed = list(dict.fromkeys(way for _, *pair, _ in rows for way in pair))
    seconds = paired_seconds(ways, ways_timed, arguments.rounds)
    for what, way, reference, goal in rows:
        low, median, high = quartiles(seconds, way, reference)
        yield f"| {what} | {median:.2f} | {low:.2f} to {high:.2f} | {goal} |"
    torch.cuda.empty_cache()  # room for the other processes
    held = dict.fromkeys(way for _, *pair, _ in MEMORY for way in pair)
    peaks = {way: peak_in_own_process(way, arguments) for way in held}
    for what, way, reference, goal in MEMORY:
        pair = peaks[way], peaks[reference]
        megabytes = " / ".join(f"{peak / 2**20:.0f}" for peak in pair)
        yield f"| {what} | {pair[0] / pair[1]:.2f} | {megabytes} MB | {goal} |"
    yield ""
    for way in ways_timed:
        median = statistics.median(seconds[way])
        rate = arguments.n_samples / median
        yield f"{way}: {1000 * median:.1f} ms a batch, {rate:.0f} images/s  "


# Networks and batches of the second table, with the largest ratio of norms to plain
# that is asked for, and whether many passes to the inputs fit into the time.
OTHERS = {
    "mlp": (128, None, True),
    "lenet": (128, 1.3, True),
    "lstm": (32, None, False),
    "resnet18": (32, 0.95, True),
    "mobilenet_v3_small": (16, 1.3, True),
    "mobilenet_v3_small_224": (4, 1.3, False),
    "efficientnet_b0": (16, 1.3, False),
    "efficientnet_b0_224": (2, 1.3, False),
    "densenet121": (8, 1.3, True),
    "convnext_tiny": (4, 1.1, False),
    "vit_small": (16, None, False),
    "vit_small_224": (2, 1.1, False),
    "swin_t": (4, 1.1, False),
    "bert": (2, 1.1, False),
    "resnet50": (2, 1.05, False),
    "vgg11_bn": (16, None, False),
}


def table_of_others(arguments):
    """Yield the rows of the table of other networks."""
    yield (
        "| network | batch | norms / plain | quartiles | goal | input alone / plain "
        "| loop / norms | full passes / cosines | activations / forward | plain, ms |"
    )
    yield "|---" * 10 + "|"
    for name in arguments.networks or OTHERS:
        yield row_of_other(name, arguments)


def row_of_other(name, arguments):
    """Return the row of one network, in CPU time if there is one thread."""
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    n_samples, goal, with_cosines = OTHERS[name]
    ways = Ways(name, n_samples, torch.device(arguments.device))
    pairs = [("norms", "plain"), ("norms_by_loop", "norms")]
    if ways.x.is_floating_point():
        pairs.append(("input_only", "plain"))
    if with_cosines:
        pairs.append(("cosines_by_full_passes", "cosines"))
    if ways.layers:
        pairs.append(("activations", "forward"))
    names = list(dict.fromkeys(way for pair in pairs for way in pair))
    seconds = paired_seconds(ways, names, arguments.rounds, clock)
    found = {pair[0]: quartiles(seconds, *pair) for pair in pairs}
    low, median, high = found["norms"]
    cells = [name, n_samples, f"{median:.2f}", f"{low:.2f} to {high:.2f}"]
    cells.append("" if goal is None else f"<= {goal}")
    loops = ("norms_by_loop", "cosines_by_full_passes")
    for way in ("input_only", *loops, "activations"):
        cells.append(f"{found[way][1]:.2f}" if way in found else "")
    cells.append(f"{1000 * statistics.median(seconds['plain']):.0f}")
    return f"| {' | '.join(map(str, cells))} |"


def describe(arguments):
    """Return one line about the hardware, the versions and the setting."""
    device = f"{arguments.threads} CPU threads ({processor()})"
    if arguments.device == "cuda":
        device = torch.cuda.get_device_name()
    return (
        f"{arguments.network}, batch {arguments.n_samples}, {arguments.rounds} rounds; "
        f"{device}; torch {torch.__version__}, Python {platform.python_version()}"
    )


def processor():
    """Return what the processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--n-samples", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--norms", action="store_true", help="gradient norms alone")
    parser.add_argument("--others", action="store_true")
    parser.add_argument("--networks", nargs="+", choices=OTHERS, help="some of others")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.quick:
        options.network, options.n_samples, options.rounds = "tiny", 4, 2
    torch.set_num_threads(options.threads)
    if options.others:
        options.network, options.n_samples = "other networks", "as below"
        print(describe(options), end="\n\n")
        for row in table_of_others(options):
            print(row, flush=True)
        return
    ways = Ways(options.network, options.n_samples, torch.device(options.device))
    if options.peak_of:
        print(peak_growth(ways, options.peak_of))
        return
    print(describe(options), end="\n\n")
    for row in table(ways, options):
        print(row, flush=True)


if __name__ == "__main__":
    main()
