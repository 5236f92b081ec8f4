"""The figures that the papers report."""

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent / "published"
FILES = {
    "A": "confounding_gradients.csv",
    "B": "geometric_gradients.csv",
    "C": "uniform_framework.csv",
}


def load_published_results(paper=None):
    """Load the figures that the three papers print in their tables.

    Parameters
    ----------
    paper : {"A", "B", "C"}, default=None
        The paper: confounding gradients (A), geometric gradients (B) or the uniform
        framework (C); None for all.

    Returns
    -------
    pandas.DataFrame
        One row per number, in the order of the tables. ``value`` is in percent, as
        printed; the other columns are strings and described under Notes.


    Notes
    -----
    ``table`` is where the number stands ("Table 2", "Sec. 5.3"), ``model`` the network
    and ``in_distribution`` the data that it was trained on. ``setting`` is empty but
    where a method appears more than once or learnt from an anomaly: "top-5" (paper B,
    Table 3), "fitted on FGSM", "input preprocessing" or "attack known" (paper C).

    ``metric`` is "auroc", "tnr_at_95tpr" (B's "identification accuracy" too),
    "aupr_in", "aupr_out", "aupr" (A does not say which class is positive),
    "detection_accuracy" or "attack_success" (share of the images that an attack gets
    misclassified, with no method).

    One thing has one name in all papers. ``anomaly``: F-MNIST is "Fashion-MNIST",
    ImageNet (A), Tiny-ImageNet and TinyIm (C) are "TinyImageNet", CW is "C&W", Gaussian
    and Uniform (C) are "Gaussian noise" and "uniform noise", FoolIm "fooling images", B
    writes "noise in ball" as Noise and "B&B Linf" as B&B; its columns over several
    anomalies are "OOD, pooled" and "all, pooled". ``method``: Baseline is "max
    softmax", M, MD and Maha are "Mahalanobis" (P: input preprocessing, FE: feature
    ensemble); what a paper calls "ours" is "confounding gradients (A)", "geometric
    gradients (B)" or "uniform framework (C)"; +OE is ", outlier exposure".

    Few cells could not be read or contradict others: README.md beside the files
    lists them.

    References
    ----------
    A: Lee, Prabhushankar, AlRegib (2022), "Gradient-Based Adversarial and
    Out-of-Distribution Detection".

    B: Schwinn et al. (2021), "Identifying Untrustworthy Predictions in Neural Networks
    by Geometric Gradient Analysis", UAI.

    C: Zhao et al. (2021), "A Uniform Framework for Anomaly Detection in Deep Neural
    Networks".
    """
    names = FILES.values() if paper is None else [FILES[paper]]
    # An empty setting is a word like the others, not a missing value.
    frames = [pd.read_csv(FOLDER / name, keep_default_na=False) for name in names]
    return pd.concat(frames, ignore_index=True)
