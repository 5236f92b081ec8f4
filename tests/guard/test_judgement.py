"""The columns that a guard returns."""

import dataclasses
import json

import numpy as np
import pytest

from skgrad.guard import Judgement


def judgement(n_samples):
    return Judgement(
        predicted=np.array(["cat", "mouse"] * n_samples)[:n_samples],
        probability=np.linspace(0, 1, n_samples),
        score=np.full(n_samples, -1.25),
        p_value=np.full(n_samples, 0.5),
        trust=np.arange(n_samples) % 2 == 0,
    )


def test_it_is_shown_in_a_few_lines():
    assert repr(judgement(1)).splitlines() == [
        "Judgement of 1 input, 1 trusted",
        "predicted  probability  score  p_value  trust",
        "      cat            0  -1.25      0.5   True",
    ]
    lines = repr(judgement(1000)).splitlines()
    assert len(lines) == 8
    assert lines[-1] == "..."
    assert repr(judgement(0)).startswith("Judgement of 0 inputs, 0 trusted\n")


def test_columns_become_a_data_frame():
    pytest.importorskip("pandas")
    judged = judgement(3)
    frame = judged.to_pandas()
    assert len(judged) == len(frame) == 3
    assert frame.columns.tolist() == [f.name for f in dataclasses.fields(Judgement)]
    assert frame["predicted"].tolist() == ["cat", "mouse", "cat"]
    assert frame["trust"].tolist() == [True, False, True]


def test_rows_become_json():
    columns = judgement(3)._columns()
    columns["score"] = np.array([-1.5, -np.inf, 2.0])
    columns["probability"] = np.array([0.5, np.nan, 1.0])
    found = json.loads(json.dumps(Judgement(**columns).to_dicts(), allow_nan=False))
    assert found[0] == {
        "predicted": "cat",
        "probability": 0.5,
        "score": -1.5,
        "p_value": 0.5,
        "trust": True,
    }
    assert (found[1]["probability"], found[1]["score"]) == (None, None)
    assert (found[1]["trust"], found[2]["predicted"]) == (False, "cat")
    assert judgement(0).to_dicts() == []


def test_it_is_frozen():
    judged = judgement(2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        judged.trust = np.ones(2, dtype=bool)
    assert judged == judged
    assert judged != judgement(2)
