"""The papers' figures, and ours beside them."""

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skgrad.evaluation import compare_with_published, load_published_results

KEYS = [
    "paper",
    "table",
    "model",
    "in_distribution",
    "anomaly",
    "method",
    "metric",
    "setting",
]
OURS_C = "uniform framework (C)"
TABLE_2 = {
    "paper": "C",
    "table": "Table 2",
    "model": "LeNet",
    "in_distribution": "MNIST",
    "metric": "tnr_at_95tpr",
}


@pytest.fixture(scope="module")
def published():
    return load_published_results()


def value_of(frame, **where):
    for name, wanted in where.items():
        frame = frame[frame[name] == wanted]
    assert len(frame) == 1, frame
    return frame["value"].item()


def test_form(published):
    assert list(published) == [*KEYS, "value"]
    assert published["value"].dtype == np.float64
    assert published["value"].between(0, 100).all()
    assert not published.duplicated(KEYS).any()
    for key in KEYS:
        assert (published[key] == published[key].str.strip()).all()
        assert key == "setting" or (published[key] != "").all()
    parts = [load_published_results(paper) for paper in "ABC"]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), published)


def test_every_cell_is_there(published):
    # Rows x methods x metrics of each table, less what is not printed or illegible.
    expected = {
        ("A", "Table 1"): 12 * 7,
        ("A", "Table 2"): 12 * (5 * 3 - 1),
        ("B", "Sec. 5.3"): 3 * 4,
        ("B", "Table 1"): 15 * 9 - 3,
        ("B", "Table 2"): 3 * 3,
        ("B", "Table 3"): 3 * 3,
        ("C", "Table 2"): 18 * 5 * 2,
        ("C", "Table 3"): 25 * 5 * 2,
        ("C", "Table 4"): 15 * 4 * 2 - 2,
        ("C", "Table 5"): 18 * 5 * 2,
        ("C", "Table 6"): 25 * 5 * 2,
        ("C", "Table 7"): 15 * 4 * 2,
        ("C", "Table 8"): 8 * 3 * 2,
        ("C", "Table 9"): 10 * 3 * 2,
    }
    assert published.groupby(["paper", "table"]).size().to_dict() == expected


@pytest.mark.parametrize(
    ("paper", "table", "model", "data", "anomaly", "method", "metric", "value"),
    [
        ("A", "1", "ResNet", "CIFAR-10", "FGSM", "max softmax", "auroc", 51.20),
        ("A", "1", "ResNet", "CIFAR-10", "PGD", "Mahalanobis P+FE", "auroc", 75.98),
        ("A", "1", "DenseNet", "CIFAR-10", "Semantic", "Mahalanobis", "auroc", 62.16),
        ("A", "1", "DenseNet", "CIFAR-10", "BIM", "LID", "auroc", 100.0),
        ("A", "2", "ResNet", "SVHN", "CIFAR-10", "energy", "aupr", 99.57),
        ("A", "2", "ResNet", "CIFAR-10", "TinyImageNet", "ODIN", "auroc", 91.86),
        (
            *("A", "2", "DenseNet", "SVHN", "LSUN"),
            *("confounding gradients (A)", "detection_accuracy", 99.52),
        ),
        ("B", "1", "CNN", "MNIST", "PGD", "Mahalanobis", "tnr_at_95tpr", 12.4),
        ("B", "1", "ResNet-56", "CIFAR-10", "B&B L2", "ODIN", "tnr_at_95tpr", 14.5),
        (
            *("B", "1", "1-D CNN", "UCR ECG", "all, pooled"),
            *("geometric gradients (B)", "aupr_in", 88.8),
        ),
        (
            *("B", "2", "PreResNet-164", "CIFAR-100", "CSA"),
            *("geometric gradients (B)", "tnr_at_95tpr", 71.6),
        ),
        ("C", "2", "VGG-16", "SVHN", "CIFAR-10", "Mahalanobis", "auroc", 85.69),
        ("C", "3", "LeNet", "MNIST", "JSMA", "ELO", "tnr_at_95tpr", 16.77),
        ("C", "4", "ResNet", "SVHN", "fooling images", "ODIN", "auroc", 46.74),
        (
            *("C", "5", "ResNet", "SVHN", "iSUN"),
            *("ELO, outlier exposure", "tnr_at_95tpr", 94.87),
        ),
        (
            "C",
            "6",
            "ResNet",
            "SVHN",
            "C&W",
            f"{OURS_C}, outlier exposure",
            "auroc",
            96.53,
        ),
        (
            *("C", "7", "LeNet", "MNIST", "fooling images"),
            *("ODIN, outlier exposure", "tnr_at_95tpr", 51.29),
        ),
        ("C", "8", "ResNet", "CIFAR-10", "LSUN", "Mahalanobis P", "auroc", 91.58),
        ("C", "9", "VGG-16", "CIFAR-10", "C&W", "LID", "tnr_at_95tpr", 95.94),
        ("C", "9", "ResNet", "CIFAR-10", "C&W", "LID", "tnr_at_95tpr", 49.92),
    ],
)
def test_spot_values(
    published, paper, table, model, data, anomaly, method, metric, value
):
    found = value_of(
        published,
        paper=paper,
        table=f"Table {table}",
        model=model,
        in_distribution=data,
        anomaly=anomaly,
        method=method,
        metric=metric,
    )
    assert found == value


def test_settings(published):
    top = published.query("paper == 'B' and table == 'Table 3'")
    assert value_of(top, metric="aupr_in", setting="top-5") == 85.6
    assert value_of(top, metric="auroc", setting="top-10") == 98.0
    success = published.query("metric == 'attack_success' and anomaly == 'CSA'")
    counts = success["setting"].str.extract(r"(\d+) of 10000 images")[0].astype(int)
    assert counts.tolist() == [561, 1354, 857]
    assert_allclose(success["value"], counts / 100)


def test_same_quantity_is_same_in_two_tables(published):
    """Where paper C prints its own method twice, misreading one would show."""
    own = published.query("paper == 'C' and method == @OURS_C")
    own = own.pivot(
        index=["model", "in_distribution", "anomaly", "metric"],
        columns="table",
        values="value",
    )
    for first, second, count in (
        ("Table 2", "Table 8", 16),
        ("Table 3", "Table 9", 20),
    ):
        both = own[[first, second]].dropna()
        assert len(both) == count
        assert_allclose(both[first], both[second])


def test_text_of_paper_c_tells_the_same(published):
    """Gains and counts that its Sec. 5.3 computes from the tables."""
    areas = published.query("paper == 'C' and metric == 'auroc'")
    where = ["model", "in_distribution", "anomaly"]

    def own(number, suffix=""):
        rows = areas[areas["table"] == f"Table {number}"]
        rows = rows[rows["method"] == OURS_C + suffix]
        return rows.set_index(where)["value"]

    def gain(number):
        return own(number + 3, ", outlier exposure") - own(number)

    assert (gain(2) > 0).sum() == 11
    assert (gain(3) >= 0).sum() == 15
    assert (gain(4) >= 0).sum() == 13
    assert gain(3)["VGG-16", "SVHN", "BIM-a"] == pytest.approx(11.74)
    assert gain(3)["ResNet", "SVHN", "BIM-a"] == pytest.approx(3.89)


def test_only_listed_pairs_are_impossible(published):
    """The ROC curve passes (1 - TNR, 0.95), so AUROC >= 0.95 TNR."""
    pairs = published.pivot(
        index=[k for k in KEYS if k != "metric"], columns="metric", values="value"
    )
    pairs = pairs[["auroc", "tnr_at_95tpr"]].dropna()
    assert len(pairs) == 602
    # Half a unit of the last digit either way.
    broken = pairs[pairs["auroc"] + 0.01 < 0.95 * pairs["tnr_at_95tpr"]]
    assert broken["auroc"].tolist() == [89.03, 67.23, 66.79, 88.75]


def ours():
    rows = [
        ("C: SVDD", "Omniglot", 0.90, 0.5),
        ("C: SVDD", "Omniglot", 0.92, 0.7),
        ("softmax", "Fashion", 0.25, 0.1),
        ("softmax", "PGD", 0.01, 0.0),
    ]
    return pd.DataFrame(rows, columns=["detector", "anomaly", "tnr_at_95tpr", "auroc"])


def test_ours_stand_beside_the_papers():
    frame = compare_with_published(
        ours(),
        **TABLE_2,
        methods={OURS_C: "C: SVDD", "max softmax": "softmax"},
        anomalies={"Fashion-MNIST": "Fashion"},
    )
    assert frame.index.tolist() == ["Fashion-MNIST", "Omniglot"]
    assert frame.columns.get_level_values(0).unique().tolist() == [
        "max softmax",
        "ODIN",
        "Mahalanobis",
        "ELO",
        OURS_C,
    ]
    assert frame["max softmax"].to_dict("list")["paper"] == [97.90, 97.03]
    assert_allclose(frame["max softmax", "ours"], [25.0, np.nan])
    # Two seeds are averaged.
    assert_allclose(frame[OURS_C, "ours"], [np.nan, 91.0])
    assert frame["ELO", "ours"].isna().all()


def test_settings_of_a_method_are_told_apart():
    pooled = pd.DataFrame(
        {"detector": ["B"], "anomaly": ["all, pooled"], "auroc": [0.9]}
    )
    frame = compare_with_published(
        pooled,
        paper="B",
        table="Table 3",
        model="PreResNet-164",
        in_distribution="CIFAR-100",
        metric="auroc",
        methods={"geometric gradients (B)": "B"},
    )
    assert frame.columns.get_level_values(0).unique().tolist() == [
        f"geometric gradients (B), top-{n}" for n in (100, 10, 5)
    ]
    assert frame.loc["all, pooled"].tolist() == [90, 98.0, 90, 98.0, 90, 97.7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paper": "D"}, r"paper must be one of \['A', 'B', 'C'\].*got 'D'"),
        ({"table": "Table 1"}, r"table must be one of \['Table 2', .*got 'Table 1'"),
        ({"model": "ResNet"}, r"in_distribution must be one of \['CIFAR-10', 'SVHN'\]"),
        ({"metric": "aupr"}, r"metric must be one of \['tnr_at_95tpr', 'auroc'\]"),
        ({"methods": {"LID": "softmax"}}, "methods must name published ones.*'LID'"),
        ({"methods": {"ODIN": "odin"}}, "methods must lead to names in.*got 'odin'"),
        ({"anomalies": {"LSUN": "PGD"}}, "anomalies must name published.*'LSUN'"),
        ({"anomalies": {"Omniglot": "O"}}, "anomalies must lead to names.*got 'O'"),
    ],
)
def test_wrong_names_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        compare_with_published(ours(), **{**TABLE_2, "methods": {}, **change})


@pytest.mark.parametrize("column", ["detector", "anomaly", "tnr_at_95tpr"])
def test_missing_column_is_named(column):
    with pytest.raises(ValueError, match=f"ours must have a column '{column}'"):
        compare_with_published(ours().drop(columns=column), **TABLE_2, methods={})


def test_unknown_paper_is_refused():
    with pytest.raises(ValueError, match="'paper' parameter of load_published_results"):
        load_published_results("D")


def test_missing_pandas_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r'pip install "skgrad\[report\]"'):
        load_published_results()
