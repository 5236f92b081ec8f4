"""
Score many images on a cluster
==============================

12,000 images lie in parts, and the workers of a Dask cluster score them. You see which
worker scored which part and when, that the scores equal those of one process, and the
images that look least like what the network knows.

It needs the extra ``dask``: ``pip install ".[plot,dask]"``.
"""

# %%
# A detector
# ----------
# It is fitted here, on digits that the network has not seen. Only scoring is spread
# over workers.
import numpy as np

from skgrad import make_recommended_detector
from skgrad.datasets import load_digits_images, make_photo_patches
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
detector = make_recommended_detector(net, random_state=0).fit(digits.X_fit)

# %%
# Many images
# -----------
# In use they would lie in files, such as a Zarr store or a memory map, and never be in
# memory together. Here they are test digits with a little noise, and 24 pieces of
# photographs are hidden among them.
rng = np.random.default_rng(0)
source = rng.integers(len(digits.X_test), size=12_000)
X = digits.X_test[source]
X = (X + 0.05 * rng.normal(size=X.shape)).clip(0, 1).astype(np.float32)
hidden = np.sort(rng.choice(len(X), 24, replace=False))
X[hidden] = make_photo_patches(24, random_state=0)

# %%
# A cluster
# ---------
# ``Client`` is all that changes on a real cluster: it gets the address of the scheduler
# there. With ``processes=False`` the two workers here are threads of this process, so
# that this page runs as it is. In a script, ``LocalCluster`` with processes has to
# stand under ``if __name__ == "__main__":``.
import dask.array as da
from dask.distributed import Client, LocalCluster, get_task_stream

cluster = LocalCluster(
    n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
)
client = Client(cluster)

# %%
# Score where the images are
# --------------------------
# A Dask array of images becomes a Dask array of scores. Each part is a task: its worker
# reads 1,000 images and keeps 1,000 scores. The detector, with its network, goes to
# each worker once.


def score(images, detector):
    return detector.score_samples(images)


sent = client.scatter(detector, broadcast=True)
images = da.from_array(X, chunks=(1000, 1, 8, 8))
lazy = images.map_blocks(score, sent, drop_axis=[1, 2, 3], meta=np.empty(0))
print(lazy)

# %%
# So far nothing was scored. ``compute`` gathers the scores; ``to_zarr`` would write
# them without gathering.
with get_task_stream(client) as stream:
    scores = lazy.compute()

# %%
# The picture shows which worker did what, and when. Both share one network here, so
# they take turns at it and each waits for the other. In processes, or on several
# machines, each has its own.
import matplotlib.pyplot as plt

tasks = [task for task in stream.data if "score" in str(task["key"])]
workers = sorted({task["worker"] for task in tasks})
spans = [
    (task, span["start"], span["stop"])
    for task in tasks
    for span in task["startstops"]
    if span["action"] == "compute"
]
begin = min(start for _, start, _ in spans)

figure, ax = plt.subplots(figsize=(9, 2.2), layout="constrained")
for number, (task, start, stop) in enumerate(spans):
    place = workers.index(task["worker"])
    ax.barh(place, stop - start, left=start - begin, edgecolor="white", color="C0")
    middle = (start + stop) / 2 - begin
    ax.text(middle, place, number + 1, ha="center", va="center", color="white")
ax.set_yticks(range(len(workers)), [f"worker {i + 1}" for i in range(len(workers))])
ax.set(xlabel="seconds; a bar is a part of 1,000 images", ylim=(-0.6, 1.6))
plt.show()

# %%
# The same scores
# ---------------
# One process computes them without Dask:
serial = detector.score_samples(X)
print("largest difference:", np.abs(scores - serial).max())

# %%
# joblib spreads the features of one call in the same way. The detector needs no other
# code for it, and the features come back to this process, which scores them.
import joblib

detector.set_params(features__n_jobs=2)
with joblib.parallel_config("dask"):
    by_joblib = detector.score_samples(X)
print("largest difference:", np.abs(by_joblib - serial).max())
client.close()
cluster.close()

# %%
# The least usual images
# ----------------------
# The picture shows the 24 lowest scores of all 12,000, photographs with a red frame.
# Below them are the eight digits that score lowest, each of them once.
order = np.argsort(scores)
# sphinx_gallery_thumbnail_number = 2
of_digits = order[~np.isin(order, hidden)]
_, first = np.unique(source[of_digits], return_index=True)
shown = [*order[:24], *of_digits[np.sort(first)[:8]]]
figure, axes = plt.subplots(4, 8, figsize=(9, 4.8), layout="constrained")
for ax, row in zip(axes.flat, shown, strict=True):
    ax.imshow(X[row, 0], cmap="gray", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    if row in hidden:
        ax.spines[:].set(color="tab:red", linewidth=3)
plt.show()
print(f"{np.isin(hidden, order[:24]).sum()} of the 24 lowest are photographs")

# %%
# What it costs to send data and results, what happens to a run whose worker dies, and
# the same on Ray and Spark is in :doc:`/guide/large_data`.
