"""What a request to `examples/serving` costs, against the network's own answer.

    python benchmarks/serving.py                    # the table of RESULTS.md
    python benchmarks/serving.py --networks lenet   # one of the networks
    python benchmarks/serving.py --quick            # a tiny one, to see that it runs

The server runs in a process of its own and is asked over loopback. Before each request
the network alone answers the same input here, so both meet the same load. Latencies are
in wall time: on a busy machine they say little, and the CPU time of the server per
request says more. Networks have random weights. Needs the extra "serving".
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import torch
from engine import describe
from latency import draw, head, make_network, row

import skgrad

BENCHMARKS = Path(__file__).parent
SERVE = BENCHMARKS.parent / "examples" / "serving" / "serve.py"
NETWORK = f"""import sys
sys.path.append({str(BENCHMARKS)!r})
from latency import make_network
def Network():
    return make_network(NAME)[0]
"""
AT_ONCE = 4
SECONDS_TO_START = 300


@contextmanager
def served(name, net, X_fit):
    """Serve a guard of a network; yield a client and the server's process."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(SERVE, folder)
        code = NETWORK.replace("NAME", repr(name))
        Path(folder, "network.py").write_text(code)
        torch.save(net.state_dict(), Path(folder, "network.pt"))
        guard = skgrad.GuardedClassifier(net, random_state=0).fit(X_fit)
        skgrad.save(guard, Path(folder, "guard.skgrad"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["serve:app", "--port", str(port), "--log-level", "warning"]
        options += ["--timeout-keep-alive", "600"]
        threads = str(torch.get_num_threads())
        with (
            subprocess.Popen(
                [sys.executable, "-m", "uvicorn", *options],
                cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": threads},
            ) as process,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        ):
            try:
                wait_for(client, process)
                yield client, process
            finally:
                process.kill()


def wait_for(client, process):
    """Wait until the server answers."""
    end = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < end:
        try:
            return client.get("/monitor").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError("the server does not answer")


def seconds(call):
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def cpu_seconds(process):
    """Return the CPU time that a process has taken."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def in_turn(net, inputs, ask, process, n_rounds):
    """Ask the network and the server in turn; return times, and CPU times per round."""
    own, served, own_cpu, before = [], [], 0.0, cpu_seconds(process)
    for number in range(n_rounds):
        start = time.process_time()
        own.append(seconds(partial(net, inputs[number % len(inputs)])))
        own_cpu += time.process_time() - start
        served.append(seconds(partial(ask, number)))
    cpu = cpu_seconds(process) - before
    return own, served, [own_cpu / n_rounds, cpu / n_rounds]


def measure(name, options):
    """Return the row of a network."""
    net, shape = make_network(name)
    X = draw(8, shape)
    inputs = [torch.from_numpy(x[None]) for x in X]
    bodies = [json.dumps({"image": x.tolist()}) for x in X]
    kind = {"Content-Type": "application/json"}
    X_fit = draw(options.n_fit, shape)
    with served(name, net, X_fit) as (client, process), torch.no_grad():

        def ask(number):
            body = bodies[number % len(bodies)]
            client.post("/judge", content=body, headers=kind).raise_for_status()

        for number in range(5):  # the first ones are slower
            ask(number)
        own, alone, cpus = in_turn(net, inputs, ask, process, options.rounds)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            asked = (partial(ask, number) for number in range(options.rounds))
            together = list(threads.map(seconds, asked))
    late = [np.percentile(times, 95) for times in (own, alone, together)]
    times = [*late, late[1] - late[0], *cpus]
    return [name, *(f"{1000 * one:.1f} ms" for one in times)]


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["lenet", "resnet18"])
    parser.add_argument("--n-fit", type=int, default=300, help="inputs to fit on")
    parser.add_argument("--rounds", type=int, default=200, help="requests")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    if options.quick:
        options.networks, options.n_fit, options.rounds = ["tiny"], 120, 20
    torch.set_num_threads(options.threads)
    options.network, options.device, options.n_samples = "random weights", "cpu", 1
    print(describe(options), end="\n\n")
    heads = [
        *("network", "its own, p95", "request, p95", f"{AT_ONCE} at a time, p95"),
        *("request over its own", "CPU, its own", "CPU of the server per request"),
    ]
    print(*head(heads), sep="\n")
    for name in options.networks:
        print(row(measure(name, options)), flush=True)


if __name__ == "__main__":
    main()
