"""
Compare detectors of other libraries
====================================

Detectors of PyOD, pytorch-ood and scikit-learn stand beside those of skgrad in one
table: same network, same inputs, same way to count. You see which of them miss which
anomalies, how many false alarms they raise, and what they cost.

It needs two extras more than ``plot``: ``pip install ".[plot,report,ood]"``.
"""

# %%
# A network and what it should not trust
# --------------------------------------
# The network reads scikit-learn's digits. A quarter of the digits fits the detectors,
# and 300 others judge them, beside 100 anomalies of each kind at most. Of the rotated
# and the attacked digits, only those count that deceive the network.
from skgrad.datasets import (
    load_digits_images,
    make_gaussian_noise,
    make_photo_patches,
)
from skgrad.evaluation import Threat, make_anomalies, train_digits_network

digits = load_digits_images()
X_fit, X_test, y_test = digits.X_fit, digits.X_test[:300], digits.y_test[:300]


def make_kinds(net, seed):
    """Return anomalies by kind, 100 of each at most."""
    made = make_anomalies(
        net,
        X_test[:100],
        y_test[:100],
        ["rotation", "PGD"],
        threat=Threat(eps=0.1, random_state=seed),
    )
    return {
        "photo patches": make_photo_patches(100, random_state=seed),
        "Gaussian noise": make_gaussian_noise(100, (1, 8, 8), random_state=seed),
        "inverted": 1 - X_test[:100],
        **made,
    }


# %%
# Detectors
# ---------
# Those of PyOD and scikit-learn know nothing of networks: they look at rows. They all
# get the same rows here, the outputs of four layers and the logits, standardised.
# ``PyODDetector`` and ``ConformalDetector`` turn signs round where needed and give both
# a promised false-alarm rate. Those of pytorch-ood look at the network themselves;
# ``PyTorchOODDetector`` makes them out of their names.
#
# All have their defaults but two: pytorch-ood's KNN looks at the 50th neighbour, but
# here are fewer inputs than that of each class, so it gets PyOD's 5. ViM wants a number
# of dimensions: 32, half of what the last layer takes. Nothing else was set.
from pyod.models.knn import KNN
from pyod.models.pca import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgrad import (
    ConformalDetector,
    LayerActivationTransformer,
    PyODDetector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad.baselines import PyTorchOODDetector


def make_detectors(net):
    def over_layers(detector):
        layers = LayerActivationTransformer(net)
        return make_pipeline(layers, StandardScaler(), detector)

    return {
        "recommended": make_recommended_detector(net),
        "B: LODA": make_geometric_gradient_detector(net),
        "C: SVDD": make_uniform_detector(net, "conv1"),
        "PyOD: KNN": over_layers(PyODDetector(KNN())),
        "PyOD: PCA": over_layers(PyODDetector(PCA())),
        "sklearn: forest": over_layers(ConformalDetector(IsolationForest())),
        "sklearn: LOF": over_layers(
            ConformalDetector(LocalOutlierFactor(novelty=True))
        ),
        "p-ood: softmax": PyTorchOODDetector(net, "MaxSoftmax"),
        "p-ood: energy": PyTorchOODDetector(net, "EnergyBased"),
        "p-ood: KNN": PyTorchOODDetector(net, "KNN", options={"k": 5}),
        "p-ood: ViM": PyTorchOODDetector(net, "ViM", options={"d": 32}),
    }


# %%
# Judge
# -----
# ``evaluate`` fits each detector on ``X_fit`` and judges it against each kind. There
# are three networks with seeds of their own, because detectors that look good with one
# network may not with the next.
from skgrad.evaluation import Evaluation, evaluate

evaluation = Evaluation([])
for seed in range(3):
    net = train_digits_network(digits.X_train, digits.y_train, random_state=seed)
    evaluation += evaluate(
        net,
        make_detectors(net),
        X_test,
        make_kinds(net, seed),
        X_fit=X_fit,
        protocol="C",
        seeds=[seed],
    )
means, spread = (100 * evaluation.summary(spread=wish) for wish in (False, True))
print("standard deviation over the three networks, in points of AUROC")
print(spread.T.round(1).to_string())

# %%
# The heat map shows the means over the three networks. 50 is chance; what is below it
# is dark red. The last two columns are regrets: by how much the best of the rows beats
# this one, in the mean over the kinds and at worst.
import matplotlib.pyplot as plt

from skgrad.inspection import DetectorHeatMapDisplay

kinds = means.drop("mean")  # the picture adds it up itself
DetectorHeatMapDisplay(
    values=kinds.T.to_numpy() / 100,
    detectors=list(kinds.columns),
    anomalies=list(kinds.index),
).plot()
plt.show()

# %%
# False alarms and seconds
# ------------------------
# All were asked for 5 % false alarms, all got the same way to place the threshold. Of
# 300 test digits and three networks, some scatter remains. Seconds are for orientation:
# one image of 8 x 8 pixels costs little with any of them.
figures = evaluation.figures.groupby("detector", sort=False)
alarms = 100 * figures["realised_fpr"].mean()
seconds = 1e3 * figures["score_seconds"].mean()

figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
axes[0].barh(alarms.index, alarms)
axes[0].axvline(5, color="black", linestyle="--")
axes[0].set_xlabel("test digits rejected, %")
axes[1].barh(seconds.index, seconds)
axes[1].set_xlabel("time to score one kind and the digits, ms")
axes[0].invert_yaxis()
plt.show()

# %%
# Noise, photographs and inverted digits are found by nearly all that look at layers,
# less well by confidence. What resembles digits, the rotated and the attacked ones, is
# hidden from detectors that see the layers of all classes as one cloud, such as PCA
# and the forest. It helps to look at near neighbours, at each class by itself, or at
# the confidence too. The recommended detector does the last two, at about twice the
# time of the network's own confidence. Paper B's is the weakest here and costs most.
#
# These are small images, a small network and few inputs. Our results on :doc:`MNIST
# </results/mnist/all_detectors>` and :doc:`CIFAR-10 (JPEG)
# </results/cifar/all_detectors>` have larger networks, more kinds of anomaly and more
# rivals; there the recommended detector is not the best against every kind. More on
# rivals is in :doc:`the guide </guide/rivals>`. Judge with your own data
# before you choose.
