"""Serve a guard: one image in; its class, probability, p-value and trust out.

python examples/serving/network.py                       # writes both files here
python -m uvicorn --app-dir examples/serving serve:app   # reads them
"""

import asyncio
import os
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from fastapi import Body, FastAPI, HTTPException
from network import Network  # your own

import skgrad
from skgrad.guard import PValueMonitor

FILE, LARGEST_BATCH = Path("guard.skgrad"), 64
COLUMNS = "predicted", "probability", "p_value", "trust"

network = Network()
network.load_state_dict(torch.load("network.pt", weights_only=True))
guard = skgrad.load(FILE, model=network)
shape = guard.detector_[0].input_shape_
# Another guard has another calibration, and begins with another monitor.
STATE = Path(f"monitor-{sha256(FILE.read_bytes()).hexdigest()[:12]}.json")
old = STATE.exists()
monitor = PValueMonitor.from_json(STATE.read_text()) if old else PValueMonitor(guard)
one_at_a_time, gathering = asyncio.Lock(), []


def judge(images):
    judged = guard.judge(np.stack(images))
    monitor.update(judged)
    # Whole, and before the answers: what a client was told is never lost.
    part = STATE.with_suffix(".part")
    part.write_text(monitor.to_json())
    os.replace(part, STATE)
    columns = [getattr(judged, name).tolist() for name in COLUMNS]
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]


async def judge_in_turn(images):
    """Judge a batch; the next one gathers meanwhile, so nobody waits for company."""
    async with one_at_a_time:
        gathering.clear()
        return await asyncio.to_thread(judge, images)


@asynccontextmanager
async def lifespan(_):
    with skgrad.hold(network):
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/judge")
async def answer_one(image: Annotated[Any, Body(embed=True)]):
    try:
        x = np.asarray(image, dtype=np.float32)
        if x.shape != shape or not np.isfinite(x).all():
            raise ValueError(f"shape {x.shape}, {np.isfinite(x).sum()} finite")
    except (TypeError, ValueError) as error:
        text = f"image must be finite numbers of shape {shape} in nested lists"
        raise HTTPException(422, f"{text}; got {error}.") from error
    if not gathering or len(gathering[0][0]) == LARGEST_BATCH:
        images = []
        gathering[:] = [(images, asyncio.create_task(judge_in_turn(images)))]
    images, answers = gathering[0]
    images.append(x)
    number = len(images) - 1
    # Shielded, as the answers of others are in it.
    return (await asyncio.shield(answers))[number]


@app.get("/monitor")
async def watch():
    return {"n_seen": monitor.n_seen_, "alarm": monitor.alarm_}
