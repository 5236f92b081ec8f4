"""
Serve a guard and notice a drift
================================

A service in FastAPI answers one request after the other, and its inputs change some
day. You see its answers, two drifts that are injected into the stream of requests, how
soon a monitor raises its alarm, and what to do then.

It needs the extra ``serving``: ``pip install ".[plot,serving]"``.
"""

# %%
# The guard
# ---------
# It is fitted on digits that the network has not seen, and on nothing else.
from skgrad import GuardedClassifier
from skgrad.datasets import load_digits_images, make_photo_patches
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
words = ["zero", "one", "two", "three", "four"]
words += ["five", "six", "seven", "eight", "nine"]
guard = GuardedClassifier(net, classes=words, target_fpr=0.05, random_state=0)
guard.fit(digits.X_fit)

# %%
# The service
# -----------
# An image comes as JSON; class, probability, score, p-value and trust go back. A
# monitor sees each judgement, and ``GET /monitor`` says whether it has raised an alarm.
# The functions are ``async``, so that requests take turns: the monitor has no lock.
from typing import Annotated

import numpy as np
from fastapi import Body, FastAPI, HTTPException

from skgrad.guard import PValueMonitor


def make_service(guard):
    app, monitor = FastAPI(), PValueMonitor(guard, alpha=0.01)

    @app.post("/judge")
    async def judge(image: Annotated[list, Body(embed=True)]):
        try:
            answer = guard.judge([image])
        except (TypeError, ValueError) as error:
            raise HTTPException(422, str(error)) from error
        monitor.update(answer)
        return answer.to_dicts()[0]

    @app.get("/monitor")
    async def watch():
        wealth = float(monitor.log_wealth_)
        return {"seen": monitor.n_seen_, "log_wealth": wealth, "alarm": monitor.alarm_}

    return app


# %%
# ``TestClient`` sends requests without a network between. The first three are a digit,
# a piece of a photograph, and an image of the wrong size.
from pprint import pprint

from fastapi.testclient import TestClient


def ask(client, image):
    return client.post("/judge", json={"image": image.tolist()})


patches = make_photo_patches(450, random_state=0)
with TestClient(make_service(guard)) as client:
    for image in (digits.X_test[0], patches[13], digits.X_test[0, :, :7]):
        answer = ask(client, image)
        print("status", answer.status_code)
        pprint(answer.json(), sort_dicts=False)
    print(client.get("/monitor").json())

# %%
# Two drifts
# ----------
# 100 digits arrive as they are. Then something changes: one input in five is a
# photograph that should not have been sent, or the lamp over the scanner gets weak, and
# all digits darken. A third stream goes on as it began.
import matplotlib.pyplot as plt

rng = np.random.default_rng(0)
order = rng.permutation(len(digits.X_test))[:250]
X, y = digits.X_test[order], np.array(words)[digits.y_test[order]]
before, after = X[:100], X[100:]
is_patch = rng.random((150, 1, 1, 1)) < 0.2
streams = {
    "digits": after,
    "one in five a photograph": np.where(is_patch, patches[:150], after),
    "darker by a third": after * 2 / 3,
}

figure, axes = plt.subplots(3, 10, figsize=(9.5, 3.4), layout="constrained")
for line, (name, stream) in zip(axes, streams.items(), strict=True):
    for ax, image in zip(line, stream, strict=False):
        ax.imshow(image[0], cmap="gray", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
    line[0].set_title(name, loc="left", fontsize=10)
plt.show()

# %%
# The monitor bets that inputs score lower than the digits by which the guard placed its
# threshold. Without a change the bet is fair, and the probability that its wealth
# *ever* grows a hundredfold is 1 % at most (``alpha=0.01``). So it may look after each
# request, for as long as the service runs.
answers, wealth = {}, {}
for name, stream in streams.items():
    answers[name], wealth[name] = [], []
    with TestClient(make_service(guard)) as client:
        for image in (*before, *stream):
            answers[name].append(ask(client, image).raise_for_status().json())
            wealth[name].append(client.get("/monitor").json()["log_wealth"])

# %%
# The picture shows what the service said, over time. Above, each dot is the p-value of
# a request; red ones are rejected. Below is the wealth of the monitor. The dotted line
# is the change, and the solid red one the alarm.
from skgrad.inspection import DriftDisplay

# sphinx_gallery_thumbnail_number = 2

figure, axes = plt.subplots(
    2, 3, figsize=(11, 6), sharex=True, sharey="row", layout="constrained"
)
for (above, below), name in zip(axes.T, streams, strict=True):
    p_values = np.array([answer["p_value"] for answer in answers[name]])
    colors = ["C0" if answer["trust"] else "C3" for answer in answers[name]]
    above.scatter(range(1, 251), p_values, s=9, color=colors)
    above.set_title(name)
    DriftDisplay.from_predictions(wealth[name], alpha=0.01, ax=below)
    for ax in (above, below):
        ax.axvline(100, color="0.5", ls=":", zorder=0)
axes[0, 0].set_ylabel("p-value")
for ax in axes[1, 1:]:
    ax.set_ylabel("")
plt.show()

# %%
# What to look at
# ---------------
# An alarm says that the stream has changed, and leaves the cause to you. Look at the
# inputs with the lowest scores first.
figure, axes = plt.subplots(2, 8, figsize=(9.5, 3.2), layout="constrained")
for line, name in zip(axes, list(streams)[1:], strict=True):
    new = answers[name][100:]
    lowest = np.argsort([answer["score"] for answer in new])
    for ax, row in zip(line, lowest, strict=False):
        ax.imshow(streams[name][row, 0], cmap="gray", vmin=0, vmax=1)
        says = f"{new[row]['predicted']}\np = {new[row]['p_value']:.2f}"
        ax.set_title(says, fontsize=9, color="C0" if new[row]["trust"] else "C3")
        ax.set(xticks=[], yticks=[])
plt.show()

# %%
# What to do
# ----------
# The photographs are rejected one by one, and nothing else has to be done but to find
# out who sends them. The weak lamp stays, and digits that the network reads well are
# rejected. ``recalibrate`` places the threshold by 100 of the new digits. A new service
# takes their scores for usual.
dark = streams["darker by a third"]
guard.recalibrate(dark[:100])
with TestClient(make_service(guard)) as client:
    later = [ask(client, image).json() for image in dark[100:]]
    print(client.get("/monitor").json())
for when, found in (("before", answers["darker by a third"][200:]), ("after", later)):
    rejected = np.mean([not answer["trust"] for answer in found])
    right = np.mean([answer["predicted"] for answer in found] == y[200:])
    print(f"{when}: {rejected:.0%} of 50 rejected, {right:.0%} right")

# %%
# This service fits on a page. The one in the folder ``examples/serving`` also gathers
# requests into batches and keeps its monitor over a restart;
# :doc:`/guide/in_production` describes it. What the monitor promises, and how soon it
# finds how much, is in :doc:`/guide/monitoring`.
