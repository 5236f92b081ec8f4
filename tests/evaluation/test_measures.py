"""Means by group and regret, by hand."""

import numpy as np
import pytest
from example_results import make, no_anomalies, two_groups
from numpy.testing import assert_allclose

from skgrad.evaluation import Evaluation, render_table
from skgrad.evaluation._figures import draw_heat_map, rank_detectors


@pytest.fixture
def evaluation():
    return Evaluation(two_groups())


def test_means_by_group(evaluation):
    means, spread = (
        evaluation.summary(by="group", spread=wish) for wish in (False, True)
    )
    assert list(means.index) == ["near data", "attacks", "mean"]
    assert_allclose(means["a"], [0.8, 0.75, 0.775])
    assert_allclose(means["b"], [0.6, 0.85, 0.725])
    # Seed by seed the means over groups are 0.825 and 0.725, 0.75 and 0.7.
    assert_allclose(spread.loc["mean"], np.array([0.1, 0.05]) / np.sqrt(2))
    assert_allclose(evaluation.summary().loc["mean"], [2.3 / 3, 2.3 / 3])
    assert set(evaluation.frame["group"]) == {"near data", "attacks"}
    assert rank_detectors(Evaluation(evaluation.results[::-1])) == ["a", "b"]


def test_regret(evaluation):
    regret, spread = (evaluation.regret(spread=wish) for wish in (False, True))
    assert list(regret.index) == ["photos", "FGSM", "PGD", "mean"]
    assert_allclose(regret["a"], [0, 0.3, 0, 0.1], atol=1e-12)
    assert_allclose(regret["b"], [0.2, 0, 0.1, 0.1], atol=1e-12)
    assert regret.idxmax().to_dict() == {"a": "FGSM", "b": "photos"}
    # To the best of both seeds: 0.4 and 0.2 of a, 0.3 and 0.1 of b.
    assert_allclose(spread["a"], np.array([0, 0.2, 0, 0.2 / 3]) / np.sqrt(2))
    assert_allclose(
        spread["b"], np.array([0.2, 0, 0, 0.2 / 3]) / np.sqrt(2), atol=1e-12
    )


def test_without_a_rival_there_is_no_regret(evaluation):
    results = [r for r in evaluation.results if r.detector == "a"]
    alone = Evaluation([*results, no_anomalies("b", "PGD", group="attacks")])
    assert alone.regret().isna().all(axis=None)
    assert render_table(alone).splitlines()[-2].split() == ["largest", "regret", *"--"]
    assert "regret" not in render_table(results)
    assert "regret" not in alone.summary().to_string()


def test_kinds_of_one_group_need_no_means_by_group():
    table = render_table([make("a", "x", 0.9), make("b", "x", 0.4)])
    assert "over groups" not in table
    assert "mean of" not in table
    assert Evaluation([make("a", "x")]).groups == {"x": "other"}


def test_heat_map_has_them(evaluation):
    axes = draw_heat_map(evaluation).axes[0]
    places = axes.get_xticks().tolist()
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    numbers = {
        ticks[places.index(round(text.get_position()[0]))]: text.get_text()
        for text in axes.texts
        if round(text.get_position()[1]) == 0
    }
    assert numbers == {
        **{"photos": "80.0", "FGSM": "50.0", "PGD": "100"},
        **{"mean of near data": "80.0", "mean of attacks": "75.0"},
        **{"mean over groups": "77.5", "mean": "76.7"},
        **{"mean regret": "10.0", "largest regret": "30.0"},
    }
    # The colour of a regret is that of what it leaves of 100.
    shades = axes.images[0].get_array()
    assert_allclose(shades[:, -2:], [[90, 70], [90, 80]])


def test_wrong_arguments(evaluation):
    with pytest.raises(ValueError, match=r'by must be "kind" or "group"; got \'seed\''):
        evaluation.summary(by="seed")
    with pytest.raises(ValueError, match=r"one of auroc, .*; got 'fit_seconds'"):
        evaluation.regret("fit_seconds")
    other = Evaluation([make("c", "FGSM", group="noise")])
    with pytest.raises(ValueError, match="'FGSM' have 'attacks' and 'noise'"):
        (evaluation + other).summary(by="group")
