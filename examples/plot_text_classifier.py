"""
Protect a text classifier
=========================

A small BERT of Hugging Face learns which field a passage of documentation is about. You
see passages that its guard trusts and passages that it rejects, each with its p-value,
and which changes of a text the guard notices and which it cannot see.

It needs the extra ``networks``: ``pip install ".[plot,networks]"``.
"""

# %%
# Passages and their fields
# -------------------------
# The texts are on this machine already: docstrings of the libraries that skgrad needs.
# They are cut into passages of 24 words, and the class of a passage is the field of its
# module.
import importlib
import inspect
import re
import textwrap

import numpy as np

fields = {
    "statistics": ["scipy.stats"],
    "signals": ["scipy.signal", "scipy.ndimage", "scipy.fft"],
    "networks": ["torch.nn", "torch.nn.functional", "torch.optim"],
    "arrays": ["numpy", "numpy.ma"],
    "learning": [
        "sklearn.linear_model",
        "sklearn.ensemble",
        "sklearn.metrics",
        "sklearn.preprocessing",
        "sklearn.cluster",
        "sklearn.decomposition",
    ],
}


def passages(text, n_words=24):
    """Return the text in passages of equal length, without code, lists and numbers."""
    paragraphs = re.split(r"\n\s*\n", text)
    prose = [p for p in paragraphs if re.match(r"\s*[A-Z]", p) and "--" not in p]
    words = re.findall(r"[A-Za-z][A-Za-z'-]*[,.;:]?", " ".join(prose))
    starts = range(0, len(words) - n_words + 1, n_words)
    return [" ".join(words[start : start + n_words]) for start in starts]


def docstrings(modules):
    """Return the passages in the docstrings of modules, each once."""
    found = {}
    for module in map(importlib.import_module, modules):
        for name in dir(module):
            if callable(part := getattr(module, name)) and name[0] != "_":
                found |= dict.fromkeys(passages(inspect.getdoc(part) or ""))
    return list(found)


rng = np.random.default_rng(0)
known = {field: docstrings(modules) for field, modules in fields.items()}
n_each = min(900, *map(len, known.values()))
texts = np.concatenate([rng.permutation(found)[:n_each] for found in known.values()])
y = np.repeat(np.arange(len(fields)), n_each)
order = rng.permutation(len(y))
texts, y = texts[order], y[order]
print(n_each, "passages of each field, such as:")
print(textwrap.fill(texts[0], 70))

# %%
# A tokenizer and a network
# -------------------------
# Both are those of Hugging Face, small and untrained. Yours likely have been trained
# long ago, and come with ``from_pretrained``. The tokenizer returns a dictionary of two
# tensors, numbers of words and a mask of where words are. The guard takes it as it is.
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

n_train, n_fit = int(0.55 * len(y)), int(0.25 * len(y))
words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
words.normalizer = normalizers.Lowercase()
words.pre_tokenizer = pre_tokenizers.Whitespace()
words.train_from_iterator(
    texts[:n_train].tolist(),
    trainers.WordLevelTrainer(
        vocab_size=2000, special_tokens=["[PAD]", "[UNK]"], show_progress=False
    ),
)
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words,
    pad_token="[PAD]",
    unk_token="[UNK]",
    model_input_names=["input_ids", "attention_mask"],
)


def tokens(texts):
    return tokenizer(
        list(texts),
        padding="max_length",
        truncation=True,
        max_length=32,
        return_tensors="pt",
    )


X_train, X_fit, X_test = map(tokens, np.split(texts, [n_train, n_train + n_fit]))
y_train, y_test = torch.as_tensor(y[:n_train]), y[n_train + n_fit :]
print({name: tuple(part.shape) for name, part in X_fit.items()})

# %%
# Training takes some seconds. Passages that are used here are of no use for the guard.
torch.manual_seed(0)
model = BertForSequenceClassification(
    BertConfig(
        vocab_size=2000,
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=32,
        hidden_dropout_prob=0.3,
        num_labels=len(fields),
    )
)
n_epochs = 8
optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
schedule = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, max_lr=3e-3, total_steps=n_epochs * -(-n_train // 32)
)
model.train()
for _ in range(n_epochs):
    for rows in torch.randperm(n_train).split(32):
        batch = {name: part[rows] for name, part in X_train.items()}
        loss = model(**batch, labels=y_train[rows]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
model.eval()

# %%
# The guard
# ---------
# It is fitted on passages that the network was not trained on, and on no anomaly.
from skgrad import GuardedClassifier

guard = GuardedClassifier(model, classes=list(fields), random_state=0).fit(X_fit)
usual = guard.judge(X_test)
right = usual.predicted == np.array(list(fields))[y_test]
accuracy, of_trusted = right.mean(), right[usual.trust].mean()
print(f"{1 - usual.trust.mean():.1%} of the test passages are rejected, 5 % asked for")
print(f"{accuracy:.1%} of all are right, {of_trusted:.1%} of the trusted")

# %%
# What may come instead
# ---------------------
# The manual of the Python language is of a field that the network does not know. The
# other kinds are test passages that something has happened to.
from pydoc_data.topics import topics

plain = texts[n_train + n_fit :]
vocabulary = sorted(word for word in words.get_vocab() if word.isalpha())


def misspelt(word):
    """Return a word with its letters in random order."""
    return "".join(rng.permutation(list(word)))


def changed(change):
    """Return the test passages with their lists of words changed."""
    return [" ".join(change(text.split())) for text in plain]


manual = [passage for text in topics.values() for passage in passages(text)]
kinds = {
    "test passage": plain,
    "manual of Python": rng.permutation(manual)[:500],
    "words shuffled": changed(rng.permutation),
    "words misspelt": changed(lambda text: map(misspelt, text)),
    "words at random": changed(lambda text: rng.choice(vocabulary, len(text))),
    "one word repeated": changed(lambda text: text[:1] * len(text)),
    "four words": changed(lambda text: text[:4]),
}
judged = {kind: guard.judge(tokens(found)) for kind, found in kinds.items()}

# %%
# These are the first two of each kind: green is trusted, red is rejected. A p-value of
# 0.01 says that one passage in a hundred of those that the guard knows scores as low.
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(9.5, 7.4), layout="constrained")
ax.set(xlim=(0, 1), ylim=(2 * len(kinds) - 0.4, -1))
ax.axis("off")
for x, title in zip((0.2, 0.79, 0.92), ("text", "says", "p-value"), strict=True):
    ax.text(x, -0.8, title, weight="bold")
for place, (kind, row) in enumerate((kind, row) for kind in kinds for row in (0, 1)):
    answers = judged[kind]
    color = "tab:green" if answers.trust[row] else "tab:red"
    style = {"color": color, "va": "center", "fontsize": 9}
    text = textwrap.shorten(kinds[kind][row], 136, placeholder=" ...")
    ax.text(0.2, place, textwrap.fill(text, 70), **style)
    ax.text(0.79, place, answers.predicted[row], **style)
    ax.text(0.92, place, f"{answers.p_value[row]:.3f}", **style)
    if row == 0:
        ax.text(0, place, kind, weight="bold", va="center")
        ax.axhline(place - 0.5, color="0.8", lw=0.8)
plt.show()

# %%
# How much of each kind is found
# ------------------------------
# The guard adds up four parts (:doc:`plot_recommended_detector`). The density asks how
# usual the activations are, and it is what far texts disturb most. A second guard gives
# it three times the weight. The weight was chosen on these texts, so the bars show that
# it can matter, not by how much it would for others.
from skgrad import make_recommended_detector

detector = make_recommended_detector(model).set_params(detect__weights=[1, 3, 1, 1])
second = GuardedClassifier(model, detector, random_state=0).fit(X_fit)

figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
places = np.arange(len(kinds))
for shift, (name, one) in zip(
    (-0.2, 0.2),
    {"recommended": guard, "density weighs more": second}.items(),
    strict=True,
):
    rejected = [
        100 * (~one.judge(tokens(found)).trust).mean() for found in kinds.values()
    ]
    bars = ax.barh(places + shift, rejected, 0.38, label=name)
    ax.bar_label(bars, fmt="%.0f", padding=9, fontsize=9)
ax.axvline(5, color="black", ls="--", lw=1, label="false alarms asked for")
ax.set_yticks(places, kinds)
ax.invert_yaxis()
ax.set(xlabel="rejected, %", xlim=(0, 110))
ax.legend(frameon=False, loc="upper right")
plt.show()

# %%
# What it cannot see
# ------------------
# A guard looks at what the network makes of a text. This network hardly reads the order
# of words, so shuffled ones look like any others:
same = judged["words shuffled"].predicted == usual.predicted
print(f"{same.mean():.0%} of the shuffled passages get the same answer")

# %%
# Nor does it see most of the manual, which is made of the same words in sentences of
# the same kind. Four words are rejected since all passages that the guard knows are of
# one length: fit it on texts of all lengths that you expect.
#
# A network that was trained on much text knows more words than this one, and its guard
# finds more. How detectors do on a BERT that knows 135 kinds of queries is on the page
# :doc:`/guide/text`, with all else that is special about text.
