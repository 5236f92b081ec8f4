"""The settings that choose the recommended detector consist of what they say."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile
from torch import nn
from torch.testing import assert_close

pytest.importorskip("torchvision")


FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def today(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("settings_of_today")


@pytest.fixture
def text(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("settings_of_text")


def test_adversarial_inputs_deceive_within_their_balls(today):
    model = nn.Linear(2, 2, bias=False).requires_grad_(False)
    model.weight.copy_(torch.tensor([[1.0, -1], [-1, 1]]))
    # The maximum norm to the boundary is half of 0.02, 0.2 and 0.8.
    x = torch.tensor([[0.51, 0.49], [0.6, 0.4], [0.9, 0.1]])
    found = today.adversarial(model, x, 0.05, 0.3, 0.1)
    n_reached = {"FGSM": 1, "BIM-a": 1, "L2-PGD": 1, "BIM": 2, "PGD": 2}
    assert {name: len(rows) for name, rows in found.items()} == n_reached
    assert all((model(rows).argmax(1) == 1).all() for rows in found.values())
    # It stops at the first step, of a tenth of the ball, beyond the boundary.
    assert (found["BIM-a"] - x[:1]).abs().max() < 0.0151
    assert_close((found["BIM"] - x[:2]).abs(), torch.full((2, 2), 0.3))
    assert_close((found["L2-PGD"] - x[:1]).norm(), torch.tensor(0.1))


def test_only_every_second_file_is_drawn(today):
    names = [f"{i:03}" for i in range(100)]
    assert sorted(today.drawn(names[::-1], 2, None, 0)) == names[::2]
    assert today.drawn(names, 2, 5, 0) != today.drawn(names, 2, 5, 1)


def write_recordings(folder):
    """Write tones for digits: 5 speakers, 24 recordings each of 10 digits."""
    rng, times = np.random.default_rng(0), np.arange(2000) / 8000
    for speaker in "abcde":
        for digit in range(10):
            for i in range(24):
                sound = np.sin(2 * np.pi * (300 + 300 * digit) * times)
                sound = 8000 * sound + rng.normal(scale=100, size=2000)
                path = folder / f"{digit}_{speaker}_{i}.wav"
                wavfile.write(path, 8000, sound.astype(np.int16))


@pytest.mark.slow
def test_a_setting_is_reproducible_and_its_anomalies_have_groups(today, tmp_path):
    (tmp_path / "spoken-digits").mkdir()
    write_recordings(tmp_path / "spoken-digits")
    cache = tmp_path / "cache"
    model, fit, x, y, anomalies = today.SETTINGS["speech"](tmp_path, 8, 0, cache)
    assert [len(fit["fit"]), len(x), len(y)] == [400, 20, 20]
    assert set(anomalies) <= set(today.GROUPS)
    assert (model(x).argmax(1) == y).float().mean() > 0.9
    # The network is read, not trained again.
    (weights,) = cache.iterdir()
    written = weights.stat().st_mtime_ns
    again = today.SETTINGS["speech"](tmp_path, 8, 0, cache)
    assert weights.stat().st_mtime_ns == written
    assert torch.equal(again[2], x)
    assert all(torch.equal(again[4][kind], anomalies[kind]) for kind in anomalies)
    assert not torch.equal(today.SETTINGS["speech"](tmp_path, 8, 1)[2], x)


class Words(nn.Module):
    """Sums of word vectors, in place of a transformer."""

    def __init__(self, table):
        super().__init__()
        self.table = nn.Embedding.from_pretrained(table)
        self.encoder, self.head = self, nn.Identity()

    def get_input_embeddings(self):
        return self.table

    def pooled(self, attention_mask, input_ids=None, inputs_embeds=None):
        vectors = self.table(input_ids) if inputs_embeds is None else inputs_embeds
        return (vectors * attention_mask[:, :, None]).sum(1)

    def forward(self, input_ids, attention_mask):
        return self.pooled(attention_mask, input_ids)


@pytest.fixture
def queries():
    # Special tokens around three words, and a place that is not used.
    ids = torch.tensor([[1, 1000, 1000, 1001, 2, 0], [1, 1001, 1001, 1001, 2, 0]])
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def test_words_are_swapped_for_those_that_change_most(text, queries):
    table = torch.zeros(1004, 2)
    # Word 1003 speaks for the second class, but not enough for all words together.
    table[1000:] = torch.tensor([[1.0, 0], [2, 0], [0, 0], [0, 3.5]])
    model = Words(table)
    found = text.swapped(model, queries, 1)["input_ids"]
    assert found.tolist() == [[1, 1000, 1000, 1003, 2, 0]]
    stopped = text.swapped(model, queries, 3, stop_at_success=True)["input_ids"]
    assert (stopped == 1003).sum(1).tolist() == [1, 2]
    further = text.swapped(model, queries, 3)["input_ids"]
    assert (further == 1003).sum(1).tolist() == [3, 3]


def test_words_are_shuffled_and_drawn_within_a_query(text, queries):
    rng = np.random.default_rng(0)
    ids, special = queries["input_ids"], queries["input_ids"] < 1000
    for changed in (text.shuffled(queries, rng), text.random_words(queries, rng)):
        assert torch.equal(changed["attention_mask"], queries["attention_mask"])
        assert torch.equal(changed["input_ids"][special], ids[special])
        assert (changed["input_ids"][~special] >= 1000).all()
    many = {name: part[:1].repeat(50, 1) for name, part in queries.items()}
    mixed = text.shuffled(many, rng)["input_ids"]
    assert len(mixed.unique(dim=0)) == 3
    assert torch.equal(mixed.sort(1).values, many["input_ids"].sort(1).values)
