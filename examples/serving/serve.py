"""Serve a guard: one image in; its class, probability, score, p-value and trust out.

python examples/serving/network.py                       # writes both files here
python -m uvicorn --app-dir examples/serving serve:app   # reads them
"""

import asyncio
from contextlib import asynccontextmanager

import torch
from fastapi import Body, FastAPI, HTTPException
from network import Network  # your own

import skgrad

network = Network()
network.load_state_dict(torch.load("network.pt", weights_only=True))
guard = skgrad.load("guard.skgrad", model=network)
# Another guard has another calibration, and begins with another monitor.
STATE = f"monitor-{guard.card_.saved.replace(':', '')}.json"
monitor = skgrad.guard.PValueMonitor.resume(STATE, guard)
turn, gathering = asyncio.Lock(), {}


def judge(images):
    judged = guard.judge(images)
    monitor.update(judged)
    # Before the answers: what a client was told is never lost.
    monitor.save(STATE)
    return judged.to_dicts()


async def judge_in_turn():
    """Judge a batch; the next one gathers meanwhile, so nobody waits for company."""
    async with turn:
        return await asyncio.to_thread(judge, gathering.pop("images"))


@asynccontextmanager
async def lifespan(_):
    with skgrad.hold(network):
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/judge")
async def answer_one(image=Body(embed=True)):
    try:
        (x,) = guard.check_inputs([image])
    except (TypeError, ValueError) as error:
        raise HTTPException(422, f"image: {error}") from error
    images = gathering.setdefault("images", [])
    if not images:
        gathering["answers"] = asyncio.create_task(judge_in_turn())
    images.append(x)
    number = len(images) - 1
    # Shielded, as the answers of others are in it.
    return (await asyncio.shield(gathering["answers"]))[number]


@app.get("/monitor")
async def watch():
    return {"n_seen": monitor.n_seen_, "alarm": monitor.alarm_}
