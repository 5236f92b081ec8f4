"""Features of many inputs: memory, and time against a plain loop over a DataLoader.

    python benchmarks/throughput.py           # the tables of RESULTS.md
    python benchmarks/throughput.py --quick   # a tiny network, to see that it runs
    python benchmarks/throughput.py --jobs 1 2  # only these numbers of processes
    python benchmarks/throughput.py --n-samples 1000 --rounds 2 --n-mapped 1000000

The features are the logits of a LeNet with random weights, so that little is computed
and the way of the inputs counts. With memory stand also the scores of the recommended
detector, from the file to one number for each input. Memory is what the process does
not share with files, as the pages of a memory map can be given back. Times are CPU
times, as in latency.py; those of several processes are told by the clock, and their CPU
times added up.
"""

import argparse
import os
import tempfile
import threading
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import engine
import numpy as np
import torch
from engine import Ways, describe, paired_seconds, quartiles, status_bytes
from grid_search import make_network
from joblib import Parallel, delayed
from latency import head, row
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, TensorDataset

from skgrad import LayerActivationTransformer, make_recommended_detector

# Batches of many inputs, as a user would loop over them.
BATCH = 128


class ManyInputs(Ways):
    """All ways to get the logits of many inputs."""

    def __init__(self, net, shape, n_samples):
        self.net, self.X = net, draw(n_samples, shape)
        self.x = torch.from_numpy(self.X)
        self.data = TensorDataset(self.x)
        self.transformer = logits_of(net).fit(self.X)

    def loop(self):
        """Run the network on the batches of a DataLoader, nothing else."""
        with torch.no_grad():
            batches = DataLoader(self.data, batch_size=BATCH)
            return torch.cat([self.net(batch) for (batch,) in batches])

    def array(self):
        """Give skgrad the array."""
        return self.transformer.transform(self.X)

    def dataset(self):
        """Give skgrad the Dataset."""
        return self.transformer.transform(self.data)

    def loader(self):
        """Give skgrad a DataLoader."""
        return self.transformer.transform(DataLoader(self.data, batch_size=BATCH))


def logits_of(net):
    """Return a transformer whose features are the logits."""
    return LayerActivationTransformer(net, "logits", batch_size=BATCH)


def draw(n_samples, shape):
    """Draw inputs in [0, 1]."""
    return np.random.default_rng(0).random((n_samples, *shape), dtype=np.float32)


TIMES = [
    ("array / plain loop", "array", "<= 1.2"),
    ("Dataset / plain loop", "dataset", "<= 1.2"),
    ("DataLoader / plain loop", "loader", "<= 1.2"),
]


def times_table(net, shape, n_samples, rounds):
    """Yield the rows of the table of times."""
    yield from head([f"{n_samples} inputs", "ratio", "quartiles", "goal", "inputs/s"])
    ways = ManyInputs(net, shape, n_samples)
    names = ["loop", *(way for _, way, _ in TIMES)]
    seconds = paired_seconds(ways, names, rounds, time.process_time)
    for what, way, goal in TIMES:
        low, median, high = quartiles(seconds, way, "loop")
        rate = n_samples / np.median(seconds[way])
        cells = [what, f"{median:.2f}", f"{low:.2f} to {high:.2f}", goal, f"{rate:.0f}"]
        yield row(cells)


def memory_table(net, shape, n_samples):
    """Yield the rows of the table of memory, for a memory map on disk."""
    cells = ["inputs on disk", "what", "size", "result", "memory grew by", "inputs/s"]
    yield from head(cells)
    with tempfile.TemporaryDirectory() as folder:
        X = mapped(folder, n_samples, shape)
        transformer = logits_of(net).fit(X)
        detector = make_recommended_detector(net, target_fpr=0.1, random_state=0)
        detector.fit(X[:1000])
        ways = {"logits": transformer.transform, "scores": partial(scores_of, detector)}
        for what, way in ways.items():
            way(X[: 4 * BATCH])  # libraries and their workspaces
            begun = time.process_time()
            with Growth() as growth:
                result = way(X)
            rate = n_samples / (time.process_time() - begun)
            sizes = [megabytes(n) for n in (X.nbytes, result.nbytes, growth.bytes)]
            yield row([n_samples, what, *sizes, f"{rate:.0f}"])


def scores_of(detector, X):
    """Score the inputs part by part, as features of all would need memory."""
    step = 32 * BATCH
    parts = (X[start : start + step] for start in range(0, len(X), step))
    return np.concatenate([detector.score_samples(part) for part in parts])


def mapped(folder, n_samples, shape):
    """Draw inputs into a file, and return them mapped from there."""
    file = Path(folder) / "inputs"
    X = np.memmap(file, np.float32, "w+", shape=(n_samples, *shape))
    step = min(n_samples, 1000)
    for start in range(0, n_samples, step):
        X[start : start + step] = draw(len(X[start : start + step]), shape)
    return X


def jobs_table(net, shape, n_samples, rounds, jobs):
    """Yield the rows of the table of processes, for a memory map on disk.

    Efficiency is the share of the speed that as many times the first row would have.
    Beside stands the speed of as many plain loops at once, as processors share much.
    """
    cells = ["processes", "inputs/s", "efficiency", "quartiles", "CPU time", "memory"]
    cells += ["plain loops at once, inputs/s", "ours / plain", "quartiles"]
    yield from head([f"{n_samples} inputs, {cells[0]}", *cells[1:]])
    with tempfile.TemporaryDirectory() as folder:
        X = mapped(folder, n_samples, shape)
        transformer = logits_of(net).fit(X)
        runs = {n: [] for n in jobs}
        for turn in range(rounds + 1):
            for n in jobs:
                run = *measured(transformer.set_params(n_jobs=n), X), looped(net, X, n)
                if turn:  # the first one starts the processes
                    runs[n].append(run)
    clock, cpu, grown, plain = (
        {n: np.array([run[i] for run in runs[n]]) for n in jobs} for i in range(4)
    )
    for n in jobs:
        share = clock[jobs[0]] * jobs[0] / (clock[n] * n)
        low, median, high = np.quantile(share, [0.25, 0.5, 0.75])
        more = np.median(cpu[n] / cpu[jobs[0]])
        rate, quarters = n_samples / np.median(clock[n]), f"{low:.2f} to {high:.2f}"
        memory = megabytes(np.median(grown[n]))
        cells = [n, f"{rate:.0f}", f"{median:.2f}", quarters, f"{more:.2f}", memory]
        low, median, high = np.quantile(clock[n] / plain[n], [0.25, 0.5, 0.75])
        cells += [f"{n_samples / np.median(plain[n]):.0f}", f"{median:.2f}"]
        yield row([*cells, f"{low:.2f} to {high:.2f}"])


def looped(net, X, n_loops):
    """Return the seconds of plain loops over shares of X, one in each process.

    Starting them and gathering what they return does not count.
    """
    bounds = np.linspace(0, len(X), n_loops + 1).astype(int).tolist()
    shares = [X[start:stop] for start, stop in pairwise(bounds)]
    times = Parallel(n_loops)(delayed(loop_over)(net, share) for share in shares)
    begun, ended = zip(*times, strict=True)
    return max(ended) - min(begun)


def loop_over(net, X):
    """Run a network over batches of X; return when that began and ended."""
    begun = time.time()
    with torch.no_grad():
        for start in range(0, len(X), BATCH):
            net(torch.from_numpy(X[start : start + BATCH].copy()))
    return begun, time.time()


def measured(transformer, X):
    """Return seconds, CPU seconds of all processes, and growth of this one."""
    begun, cpu = time.perf_counter(), cpu_seconds()
    with Growth() as growth:
        transformer.transform(X)
    return time.perf_counter() - begun, cpu_seconds() - cpu, growth.bytes


def cpu_seconds():
    """Return the CPU time of this process and of those that it started (Linux)."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if fields[1] == str(os.getpid()):
            ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


class Growth(threading.Thread):
    """The growth of this process's own memory inside a block, read every 10 ms."""

    def __init__(self):
        super().__init__(daemon=True)
        self.over = threading.Event()

    def __enter__(self):
        self.before = self.peak = status_bytes("RssAnon")
        self.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        self.join()
        self.bytes = self.peak - self.before

    def run(self):
        """Read until the block is over, and once after."""
        reading = True
        while reading:
            reading = not self.over.wait(0.01)
            self.peak = max(self.peak, status_bytes("RssAnon"))


def megabytes(n_bytes):
    """Return a size as a cell."""
    return f"{n_bytes / 2**20:.1f} MB"


def main(arguments=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-samples", type=int, default=10_000)
    parser.add_argument("--n-mapped", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, nargs="+", default=[])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    options.network, options.device = "lenet", "cpu"
    net, shape = make_network("lenet")
    if options.quick:
        options.network, options.rounds = "tiny", 2
        options.n_samples = options.n_mapped = 300
        net, shape, _ = engine.make_network("tiny")
    torch.set_num_threads(options.threads)
    print(describe(options), end="\n\n")
    with threadpool_limits(options.threads):
        if options.jobs:
            how = options.n_mapped, options.rounds, options.jobs
            for line in jobs_table(net, shape, *how):
                print(line, flush=True)
            return
        for line in times_table(net, shape, options.n_samples, options.rounds):
            print(line, flush=True)
        print()
        for line in memory_table(net, shape, options.n_mapped):
            print(line, flush=True)


if __name__ == "__main__":
    main()
