"""The figures that the papers report, and ours beside them."""

from importlib.resources import files

from .._compat import StrOptions, validate_params
from ._evaluation import import_pandas

FILES = {
    "A": "confounding_gradients.csv",
    "B": "geometric_gradients.csv",
    "C": "uniform_framework.csv",
}
# What tells the rows of one table in a paper from those of another.
PLACE = ["paper", "table", "model", "in_distribution", "metric"]


@validate_params(
    {"paper": [StrOptions(set(FILES)), None]}, prefer_skip_nested_validation=True
)
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

    Raises
    ------
    ImportError
        If pandas is not installed.

    See Also
    --------
    compare_with_published : Put our figures beside them.

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

    Few cells could not be read or contradict others: README.md beside the files, in
    the folder evaluation/published of the package, lists them.

    References
    ----------
    A: Lee, Prabhushankar, AlRegib (2022), "Gradient-Based Adversarial and
    Out-of-Distribution Detection".

    B: Schwinn et al. (2021), "Identifying Untrustworthy Predictions in Neural Networks
    by Geometric Gradient Analysis", UAI.

    C: Zhao et al. (2021), "A Uniform Framework for Anomaly Detection in Deep Neural
    Networks".

    Examples
    --------
    >>> from skgrad.evaluation import load_published_results
    >>> published = load_published_results("C")
    >>> ours = published.query("table == 'Table 2' and method.str.contains('uniform')")
    >>> ours.query("metric == 'auroc'").groupby("model")["value"].mean().round(1)
    model
    LeNet     99.9
    ResNet    98.6
    VGG-16    98.2
    Name: value, dtype: float64
    """
    pandas = import_pandas()
    folder = files(__package__) / "published"
    frames = []
    for name in FILES.values() if paper is None else [FILES[paper]]:
        with (folder / name).open(encoding="utf-8") as file:
            # An empty setting is a word like the others, not a missing value.
            frames.append(pandas.read_csv(file, keep_default_na=False))
    return pandas.concat(frames, ignore_index=True)


def compare_with_published(
    ours,
    *,
    paper,
    table,
    model,
    in_distribution,
    metric,
    methods,
    anomalies=None,
):
    """Put our figures beside those that a paper prints in one table.

    Parameters
    ----------
    ours : pandas.DataFrame
        Our results: columns "detector", "anomaly" and the metric as a fraction. Several
        rows of a detector and anomaly, such as seeds, are averaged.
    paper, table, model, in_distribution, metric : str
        Which cells of the paper, in the words of :func:`load_published_results`.
    methods : dict of str to str
        For each published method the name of our detector.
    anomalies : dict of str to str, default=None
        For each published anomaly the name that ``ours`` has for it; where an anomaly
        is not named here, it has the same name in both.

    Returns
    -------
    pandas.DataFrame
        Percent. One row per anomaly of the paper; for each of its methods the columns
        (method, "ours") and (method, "paper"). A cell of the paper that ``ours`` lacks
        stays in the table, as NaN; what ``ours`` has besides is not shown. A method
        with several settings is named with each.

    Raises
    ------
    ImportError
        If pandas is not installed.
    ValueError
        If the paper has no such cells, ``ours`` lacks a column, or a name of
        ``methods`` or ``anomalies`` is in neither.

    Examples
    --------
    >>> import pandas as pd
    >>> from skgrad.evaluation import compare_with_published
    >>> ours = pd.DataFrame({"detector": "C: SVDD", "anomaly": ["Omniglot"],
    ...                      "auroc": [0.9731]})
    >>> frame = compare_with_published(
    ...     ours, paper="C", table="Table 2", model="LeNet", in_distribution="MNIST",
    ...     metric="auroc", methods={"uniform framework (C)": "C: SVDD"})
    >>> frame["uniform framework (C)"].rename_axis(columns=None)
                    ours   paper
    anomaly
    Fashion-MNIST    NaN   99.83
    Omniglot       97.31   99.99
    """
    pandas = import_pandas()
    place = dict(
        zip(PLACE, (paper, table, model, in_distribution, metric), strict=True)
    )
    published = _select(load_published_results(), place)
    anomalies = {} if anomalies is None else anomalies
    _check_names(published, "methods", methods, ours, "detector")
    _check_names(published, "anomalies", anomalies, ours, "anomaly")
    if metric not in ours:
        raise ValueError(
            f"ours must have a column {metric!r} for the metric; its columns are "
            f"{list(ours)}. Rename the one that holds it."
        )
    our_figure = ours.groupby(["detector", "anomaly"])[metric].mean()
    columns = {}
    for (method, setting), rows in published.groupby(["method", "setting"], sort=False):
        several = published.loc[published["method"] == method, "setting"].nunique() > 1
        name = f"{method}, {setting}" if several else method
        paper_figure = rows.set_index("anomaly")["value"]
        keys = [(methods.get(method), anomalies.get(a, a)) for a in paper_figure.index]
        columns[name, "ours"] = pandas.Series(
            [100 * our_figure.get(key, float("nan")) for key in keys],
            index=paper_figure.index,
        )
        columns[name, "paper"] = paper_figure
    frame = pandas.DataFrame(columns).reindex(published["anomaly"].unique())
    return frame.rename_axis(index="anomaly", columns=["method", "source"])


def _select(published, place):
    """Narrow down column by column, so that the error names the one that is wrong."""
    for name, wanted in place.items():
        legal = list(published[name].unique())
        if wanted not in legal:
            raise ValueError(
                f"{name} must be one of {legal} here, as the papers have it; got "
                f"{wanted!r}. See load_published_results()."
            )
        published = published[published[name] == wanted]
    return published


def _check_names(published, parameter, names, ours, column):
    """Refuse a name that would silently leave a column or row empty."""
    if column not in ours:
        raise ValueError(
            f"ours must have a column {column!r}; its columns are {list(ours)}."
        )
    legal = list(published["method" if column == "detector" else "anomaly"].unique())
    for theirs, our_name in names.items():
        if theirs not in legal:
            raise ValueError(
                f"{parameter} must name published ones, {legal} here; got {theirs!r}."
            )
        known = list(ours[column].unique())
        if our_name not in known:
            raise ValueError(
                f"{parameter} must lead to names in ours[{column!r}], {known}; got "
                f"{our_name!r} for {theirs!r}. Leave out what ours does not have."
            )
