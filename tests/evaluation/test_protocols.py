"""Who is fitted on what: sizes, sources, and what is never learnt from."""

from collections import Counter

import numpy as np
import pytest

from skgrad.evaluation import PROTOCOLS, AnomalySet, Protocol
from skgrad.evaluation._protocols import find_protocol, merge_splits

N_TEST = 100


@pytest.fixture
def anomalies():
    rng = np.random.default_rng(0)
    return {
        "attack": AnomalySet(
            rng.random((150, 2)), sources=rng.integers(N_TEST, size=150)
        ),
        "noise": AnomalySet(rng.random((50, 2))),
        "failed": AnomalySet(np.empty((0, 2)), sources=np.empty(0, dtype=int)),
    }


def splits(name, anomalies, **options):
    options = {"has_fit": True, "seeds": [0, 1], "n_folds": 5} | options
    return list(PROTOCOLS[name].splits(N_TEST, anomalies, **options))


@pytest.mark.parametrize("name", ["A", "A'"])
def test_supervised_sizes(name, anomalies):
    for split in splits(name, anomalies):
        assert len(split.test) == 20
        assert len(split.fit) == 80
        assert set(split.test) | set(split.fit) == set(range(N_TEST))
        (kind,) = split.tested
        if kind == "noise":
            assert len(split.tested[kind]) == (10 if name == "A" else 50)
        for other, known in split.known.items():
            assert other != "noise" or len(known) == 40
    kinds = [(s.seed, *s.tested) for s in splits(name, anomalies)]
    assert kinds == [(seed, kind) for seed in (0, 1) for kind in anomalies]


@pytest.mark.parametrize("name", ["A", "A'"])
def test_no_source_on_both_sides(name, anomalies):
    sources = anomalies["attack"].sources
    for split in splits(name, anomalies):
        for kind, known in split.known.items():
            if kind == "attack":
                assert not set(sources[known]) & set(split.test)
                assert set(sources[known]) <= set(split.fit)
        for kind, tested in split.tested.items():
            if kind == "attack":
                assert set(sources[tested]) <= set(split.test)
                # All whose source is held out.
                assert len(tested) == np.isin(sources, split.test).sum()


def test_a_learns_from_the_kind_judged_and_nothing_else(anomalies):
    for split in splits("A", anomalies):
        assert list(split.known) == list(split.tested)
        for kind, known in split.known.items():
            both = Counter([*known, *split.tested[kind]])
            assert both == Counter(range(len(anomalies[kind].X)))


def test_a_prime_never_learns_from_the_kind_judged(anomalies):
    for split in splits("A'", anomalies):
        assert set(split.known) == set(anomalies) - set(split.tested)


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
            assert list(one.fit) == list(split.fit)
            assert list(one.test) == list(split.test)
            for kind, rows in one.tested.items():
                assert list(split.tested[kind]) == list(rows)


@pytest.mark.parametrize("name", ["B", "C"])
def test_folds_judge_every_row_once(name, anomalies):
    for seed in (0, 1):
        found = [s for s in splits(name, anomalies, has_fit=False) if s.seed == seed]
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


@pytest.mark.parametrize("name", ["B", "C"])
def test_with_inputs_to_fit_on_all_is_judged_at_once(name, anomalies):
    found = splits(name, anomalies)
    assert len(found) == 2
    for split in found:
        assert len(split.fit) == 0
        assert list(split.test) == list(range(N_TEST))
        sizes = {kind: len(rows) for kind, rows in split.tested.items()}
        assert sizes == {"attack": 150, "noise": 50, "failed": 0}


def test_seeds_draw_other_parts(anomalies):
    one, two = (splits("A", anomalies, seeds=[seed])[1] for seed in (0, 1))
    assert list(one.test) != list(two.test)
    assert list(one.tested["noise"]) != list(two.tested["noise"])
    again = splits("A", anomalies, seeds=[0])[1]
    assert list(one.test) == list(again.test)
    assert list(one.tested["noise"]) == list(again.tested["noise"])


def test_names():
    assert find_protocol("A'") is PROTOCOLS["A'"]
    mine = Protocol("mine", "as I like it")
    assert find_protocol(mine) is mine
    for typo, hint in (("b", ""), ("A''", 'Did you mean "A\'"?'), (None, "")):
        with pytest.raises(ValueError, match="protocol must be one of 'A', ") as error:
            find_protocol(typo)
        assert hint in str(error.value)
        assert repr(typo) in str(error.value)
