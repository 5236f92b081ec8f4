"""Who is fitted on what: sizes, sources, and what is never learnt from."""

from collections import Counter

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skgrad.evaluation import PROTOCOLS, AnomalySet, Protocol
from skgrad.evaluation._protocols import find_protocol, merge_splits

N_TEST = 100


@pytest.fixture
def anomalies():
    rng = np.random.default_rng(0)
    return {
        "attack": AnomalySet(rng.random((150, 2)), rng.integers(N_TEST, size=150)),
        "noise": AnomalySet(rng.random((50, 2))),
        "failed": AnomalySet(np.empty((0, 2)), sources=np.empty(0, dtype=int)),
    }


def splits(name, anomalies, **options):
    options = {"has_fit": True, "seeds": [0, 1], "n_folds": 5} | options
    return list(PROTOCOLS[name]._splits(N_TEST, anomalies, **options))


@pytest.mark.parametrize("name", ["A", "A'"])
def test_supervised_splits(name, anomalies):
    sources = anomalies["attack"].sources
    found = splits(name, anomalies)
    kinds = [(split.seed, *split.tested) for split in found]
    assert kinds == [(seed, kind) for seed in (0, 1) for kind in anomalies]
    for split in found:
        assert len(split.test) == 20
        assert len(split.fit) == 80
        assert set(split.test) | set(split.fit) == set(range(N_TEST))
        ((kind, tested),) = split.tested.items()
        if name == "A":
            # The kind that is tested is learnt from, and nothing else.
            assert list(split.known) == [kind]
            both = Counter([*split.known[kind], *tested])
            assert both == Counter(range(len(anomalies[kind].X)))
        else:
            assert set(split.known) == set(anomalies) - {kind}
        assert len(split.known.get("noise", range(40))) == 40
        if kind == "noise":
            assert len(tested) == (10 if name == "A" else 50)
        # Each attack is on the side of its source.
        if kind == "attack":
            assert_array_equal(tested, np.flatnonzero(np.isin(sources, split.test)))
        known = sources[split.known.get("attack", [])]
        assert set(known) <= set(split.fit)


@pytest.mark.parametrize("name", ["A", "A'"])
def test_detectors_that_learn_from_no_anomaly_are_fitted_once_per_seed(name, anomalies):
    apart = splits(name, anomalies)
    merged = list(merge_splits(apart))
    assert [split.seed for split in merged] == [0, 1]
    for split in merged:
        of_seed = [one for one in apart if one.seed == split.seed]
        assert split.known == {}
        assert list(split.tested) == list(anomalies)
        for one in of_seed:
            assert_array_equal(one.fit, split.fit)
            assert_array_equal(one.test, split.test)
            for kind, rows in one.tested.items():
                assert_array_equal(split.tested[kind], rows)


def test_folds_test_every_row_once(anomalies):
    for seed in (0, 1):
        found = [s for s in splits("C", anomalies, has_fit=False) if s.seed == seed]
        assert [s.fold for s in found] == [0, 1, 2, 3, 4]
        tested = np.concatenate([s.test for s in found])
        assert sorted(tested) == list(range(N_TEST))
        attacked = np.concatenate([s.tested["attack"] for s in found])
        assert sorted(attacked) == list(range(150))
        for split in found:
            assert not set(split.fit) & set(split.test)
            assert set(split.fit) | set(split.test) == set(range(N_TEST))
            sources = anomalies["attack"].sources[split.tested["attack"]]
            assert not set(sources) & set(split.fit)
            assert len(split.tested["noise"]) == 50
            assert split.known == {}


def test_with_inputs_to_fit_on_all_is_tested_at_once(anomalies):
    for split in splits("C", anomalies):
        assert len(split.fit) == 0
        assert list(split.test) == list(range(N_TEST))
        sizes = {kind: len(rows) for kind, rows in split.tested.items()}
        assert sizes == {"attack": 150, "noise": 50, "failed": 0}


def test_seeds_draw_other_parts(anomalies):
    one, two, again = (splits("A", anomalies, seeds=[s])[1] for s in (0, 1, 0))
    for part in (lambda s: list(s.test), lambda s: list(s.tested["noise"])):
        assert part(one) == part(again) != part(two)


def test_names():
    assert find_protocol("A'") is PROTOCOLS["A'"]
    mine = Protocol("mine", "as I like it")
    assert find_protocol(mine) is mine
    for typo in ("b", None):
        with pytest.raises(ValueError, match="protocol must be one of 'A', "):
            find_protocol(typo)
