"""The example of a service: requests over loopback, and a server that is killed."""

import copy
import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
import tokenize
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import skgrad
from skgrad.datasets import load_digits_images
from skgrad.guard import PValueMonitor

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.slow

SERVING = Path(__file__).parents[2] / "examples" / "serving"
IMAGES = load_digits_images().X_test.astype(float)
SECONDS_TO_START = 300  # on a machine with other work


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with guard and network as the example makes them, and both loaded."""
    folder = tmp_path_factory.mktemp("served")
    script = SERVING / "network.py"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [str(script)])
        network = runpy.run_path(str(script), run_name="__main__")["Network"]()
    weights = torch.load(folder / "network.pt", weights_only=True)
    network.load_state_dict(weights)
    return folder, skgrad.load(folder / "guard.skgrad", model=network)


@contextmanager
def served(folder):
    """Start the server as its docstring says; yield a client and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "uvicorn", "--app-dir", str(SERVING), "serve:app"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            # A connection that is idle on a slow machine is not closed meanwhile.
            [*words, "--port", str(port), "--timeout-keep-alive", "600"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(SERVING.parents[1])},
            stdout=log,
            stderr=log,
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        try:
            wait_for(client, process, folder / "log")
            yield client, process
        finally:
            process.kill()


def wait_for(client, process, log):
    for _ in range(10 * SECONDS_TO_START):
        try:
            return client.get("/monitor").raise_for_status()
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
    raise TimeoutError(log.read_text())


def ask(client, image):
    return client.post("/judge", json={"image": image})


def seen(client):
    return client.get("/monitor").json()["n_seen"]


SMALL = r"samples of shape \(1, 8, 8\).*got samples of shape \(1, 7, 8\)"
WRONG = {
    "too small": ([[[0.5] * 8] * 7], SMALL),
    "ragged": ([[[0.5] * 8, [0.5]]], "image: X must be rectangular"),
    "words": ([[["a"] * 8] * 8], "image: X must be numeric"),
    "null": (None, r"image: X must be of shape \(n_samples"),
    "not a list": ({"a": 1}, "image: X must hold numbers"),
}
BODIES = {
    "NaN": (json.dumps({"image": [[[np.nan] * 8] * 8]}), "X must be finite"),
    "NaN in another shape": ('{"image": [[[NaN]]]}', "got samples of shape (1, 1, 1)"),
    "another name": ('{"picture": []}', '"image"'),
    "no JSON": ("{", "JSON"),
}


def check_wrong_requests(client):
    for image, match in WRONG.values():
        answer = ask(client, image)
        assert answer.status_code == 422
        with pytest.raises(ValueError, match=match):
            raise ValueError(answer.json()["detail"])
    head = {"Content-Type": "application/json"}
    for body, text in BODIES.values():
        answer = client.post("/judge", content=body, headers=head)
        assert answer.status_code == 422
        assert text in answer.text


def test_it_has_40_lines():
    """As the guide says: of code, which docstrings and comments are not."""
    with (SERVING / "serve.py").open("rb") as file:
        tokens = [t for t in tokenize.tokenize(file.readline) if t.string.strip()]
    code = [t for t in tokens if not t.string.startswith(("#", '"""', "utf-8"))]
    assert len({token.start[0] for token in code}) == 40


def test_200_requests_4_at_a_time(made):
    folder, guard = made
    images = IMAGES[:200].tolist()
    images[77] = images[77][0]  # without the axis of channels
    with served(folder) as (client, process), ThreadPoolExecutor(4) as threads:
        before = seen(client)
        answers = list(threads.map(lambda image: ask(client, image), images))
        broken = answers.pop(77)
        assert broken.status_code == 422
        assert "image: X must hold samples of shape (1, 8, 8)" in broken.text
        assert "got samples of shape (8, 8)" in broken.text
        assert [answer.status_code for answer in answers] == [200] * 199
        check_wrong_requests(client)
        assert seen(client) - before == 199
        assert process.poll() is None
    judged = guard.judge(np.delete(IMAGES[:200], 77, axis=0).astype("f4"))
    found = [answer.json() for answer in answers]
    assert [one["predicted"] for one in found] == judged.predicted.tolist()
    assert [one["trust"] for one in found] == judged.trust.tolist()
    for name in ("probability", "score", "p_value"):
        column = [one[name] for one in found]
        assert_allclose(column, getattr(judged, name), atol=1e-5)


def test_a_killed_server_loses_nothing_that_it_confirmed(made):
    folder, guard = made
    confirmed, asked = [], []

    def ask_until_it_dies(first):
        for image in IMAGES[first::4].tolist():
            asked.append(first)
            try:
                confirmed.append(ask(client, image).raise_for_status())
            except httpx.TransportError:
                return

    with served(folder) as (client, process), ThreadPoolExecutor(4) as threads:
        before = seen(client)
        running = [threads.submit(ask_until_it_dies, first) for first in range(4)]
        while len(confirmed) < 50:
            assert not all(one.done() for one in running)
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        for one in running:
            one.result()
    n_confirmed = len(confirmed)
    assert 50 <= n_confirmed < len(IMAGES)
    with served(folder) as (client, _):
        after = seen(client) - before
        # Those in between were judged, but the server died before it could answer.
        assert n_confirmed <= after <= len(asked) <= n_confirmed + 4
        for image in IMAGES[:10].tolist():
            ask(client, image).raise_for_status()
        assert seen(client) - before == after + 10
    (state,) = folder.glob("monitor-*.json")
    assert PValueMonitor.resume(state, guard).n_seen_ == before + after + 10


def test_another_guard_begins_with_another_monitor(made, tmp_path):
    folder, guard = made
    for name in ("network.pt", "guard.skgrad"):
        shutil.copy(folder / name, tmp_path)
    with served(tmp_path) as (client, _):
        ask(client, IMAGES[0].tolist()).raise_for_status()
    (first,) = tmp_path.glob("monitor-*.json")
    recalibrated = copy.copy(guard).recalibrate(IMAGES[:200])
    skgrad.save(recalibrated, tmp_path / "guard.skgrad")
    with served(tmp_path) as (client, _):
        assert seen(client) == 0
        ask(client, IMAGES[0].tolist()).raise_for_status()
    (second,) = set(tmp_path.glob("monitor-*.json")) - {first}
    assert PValueMonitor.resume(first, guard).n_seen_ == 1
    assert PValueMonitor.resume(second, recalibrated).n_seen_ == 1
