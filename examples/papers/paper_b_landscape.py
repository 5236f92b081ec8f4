"""
Paper B's figures: the landscape of the loss
============================================

Figures 1 to 4 of Schwinn et al. (2021), "Identifying Untrustworthy Predictions in
Neural Networks by Geometric Gradient Analysis", on its network for MNIST, and the
statistics behind Figure 3. ``paper_b.py`` has the tables; run ``train_networks.py``
first::

    python examples/papers/paper_b_landscape.py --data-dir ~/data --networks networks
"""

import numpy as np
import pandas as pd
import torch
from experiment_pages import as_markdown, describe, write_page
from experiments import load_setting, read_options
from loss_landscape import draw_alignment, draw_plane, loss_alignment, measure_plane
from matplotlib.figure import Figure

from skgrad import CosineSimilarityMatrixTransformer, LayerActivationTransformer
from skgrad.inspection import CosineSimilarityDisplay

CORRECT, WRONG = "correct", "incorrect"
ATTACKS = ("noise in ball", "PGD", "rotation")
NOISE = ("uniform noise", "Gaussian noise")


def logits_of(setting, X):
    """Return the logits of some inputs."""
    return LayerActivationTransformer(setting.model, "logits").fit_transform(X)


def cosines(setting, X, args):
    """Return statistics of the cosines between saliency maps."""
    transformer = CosineSimilarityMatrixTransformer(setting.model, memory=args.memory)
    return transformer.fit_transform(X)


def save(figure, name, args):
    """Write a figure, and return the Markdown that shows it."""
    figure.savefig(args.output / f"{name}.png", dpi=100, bbox_inches="tight")
    return f"![{name}]({name}.png)"


# %%
# Figure 1: cosine similarity matrices
# ------------------------------------
# Of an input that is classified correctly, one of other data, and one under attack:
# the first of each, not chosen by their looks.


def figure_1(setting, anomalies, args):
    """Draw inputs over their matrices."""
    X, y = setting.test
    right = np.flatnonzero(logits_of(setting, X).argmax(axis=1) == y)[0]
    other = next(iter(setting.others))
    shown = {
        f"classified correctly ({y[right]})": X[right],
        other: anomalies[other].X[0],
        "attacked by PGD": anomalies["PGD"].X[0],
    }
    inputs = np.stack(list(shown.values()))
    transformer = CosineSimilarityMatrixTransformer(setting.model, memory=args.memory)
    display = CosineSimilarityDisplay.from_estimator(
        transformer, inputs, input_names=list(shown)
    )
    return save(display.figure_, "paper_b_fig_1", args)


# %%
# Figure 2: what the mean cosine tells, and what the softmax
# ----------------------------------------------------------


def box(values):
    """Return what a box shows of some values."""
    names = ("whislo", "q1", "med", "q3", "whishi")
    return dict(zip(names, np.percentile(values, (2.5, 25, 50, 75, 97.5)), strict=True))


def figure_2(setting, anomalies, args):
    """Draw box plots, and return them with their medians."""
    X, y = setting.test
    right = logits_of(setting, X).argmax(axis=1) == y
    kinds = {CORRECT: X[right], WRONG: X[~right]}
    kinds |= {name: getattr(a, "X", a) for name, a in anomalies.items()}
    kinds = {name: part for name, part in kinds.items() if len(part)}
    values = {
        "mean of S1": [cosines(setting, part, args)[:, 0] for part in kinds.values()],
        "largest softmax": [
            torch.from_numpy(logits_of(setting, part)).softmax(1).amax(1).numpy()
            for part in kinds.values()
        ],
    }
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axis, (title, columns) in zip(
        figure.subplots(1, 2), values.items(), strict=True
    ):
        # As in the paper, the whiskers hold 95 percent.
        axis.bxp([box(column) for column in columns], showfliers=False)
        axis.set_title(title)
        axis.set_xticks(range(1, len(kinds) + 1), kinds, rotation=40, ha="right")
    medians = {
        title: list(map(np.median, columns)) for title, columns in values.items()
    }
    table = pd.DataFrame(medians, index=pd.Index(kinds, name="median"))
    table.insert(0, "inputs", [str(len(part)) for part in kinds.values()])
    return save(figure, "paper_b_fig_2", args), table


# %%
# Figure 3: do correctly classified inputs lie in minima of the loss?
# -------------------------------------------------------------------
# Theorem 1: an input is a local minimum of the loss towards its predicted class if and
# only if zeta is at least 0 all around and close by.


def zeta(setting, seed, args):
    """Return zeta by whether inputs are classified correctly, and sigma."""
    X, y = setting.fresh
    predicted = logits_of(setting, X).argmax(axis=1)
    parts = {CORRECT: predicted == y, WRONG: predicted != y}
    return {
        (name, sigma): loss_alignment(
            setting.model,
            X[part][: args.n_zeta],
            predicted[part][: args.n_zeta],
            sigma=sigma,
            n_injections=args.n_injections,
            random_state=seed,
        )
        for name, part in parts.items()
        if part.any()
        for sigma in map(float, args.sigmas.split(","))
    }


STATISTICS = {
    "median": np.median,
    "zeta >= 0": lambda z: np.mean(z >= 0),
    "quartiles apart": lambda z: np.subtract(*np.quantile(z, (0.75, 0.25))),
    "inputs with all >= 0": lambda z: np.mean((z >= 0).all(axis=1)),
}


def zeta_table(parts):
    """Return statistics per sigma, the mean and standard deviation over seeds."""
    rows = {}
    for name, sigma in dict.fromkeys(key for part in parts for key in part):
        found = [part[name, sigma] for part in parts if (name, sigma) in part]
        for title, statistic in STATISTICS.items():
            values = list(map(statistic, found))
            text = f"{np.mean(values):.3f}"
            text += f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            rows.setdefault(f"{sigma:g}", {})[f"{title}, {name}"] = text
    return pd.DataFrame(rows).T.rename_axis("sigma").sort_index(axis=1)


def describe_zeta(parts, args):
    """Say on how much the statistics stand, and what the paper sees."""
    keys = dict.fromkeys(key for part in parts for key in part)
    counts = {n: sum(len(p.get((n, s), ())) for p in parts) for n, s in keys}
    inputs = " and ".join(f"{count} {name}ly" for name, count in counts.items())
    return (
        f"{args.n_injections} injections for each of {inputs} classified inputs, all "
        "seeds together, that the network was not trained on, towards the class that "
        "it predicts. In the paper, zeta of correct classifications lies close to 0 "
        "for small noise and that of incorrect ones spreads more; with more noise it "
        "is larger for correct ones; and far away it is normal around 0."
    )


def figure_3(parts, args):
    """Draw violins of all seeds together."""
    sigmas = list(dict.fromkeys(sigma for part in parts for _, sigma in part))
    kinds = [
        (part, n) for part in parts for n in (CORRECT, WRONG) if (n, sigmas[0]) in part
    ]
    values = [np.concatenate([part[n, sigma] for part, n in kinds]) for sigma in sigmas]
    correct = [n == CORRECT for part, n in kinds for _ in part[n, sigmas[0]]]
    figure = Figure(figsize=(9, 4), layout="constrained")
    draw_alignment(figure.subplots(), np.stack(values), np.array(correct), sigmas)
    return save(figure, "paper_b_fig_3", args)


# %%
# Figure 4: the mean cosine around an input
# -----------------------------------------


def figure_4(setting, anomalies, args):
    """Draw the mean of S1 along an attack and across, and the predicted classes."""
    X, _ = setting.attacked
    adversarial = anomalies["PGD"].X[0]
    # What it was made from is what it is closest to.
    source = X[np.abs(X - adversarial).reshape(len(X), -1).max(axis=1).argmin()]
    across = np.random.default_rng(args.seeds[0]).normal(size=source.shape)
    plane = measure_plane(
        setting.model, source, adversarial, across, n_grid=args.n_grid
    )
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    draw_plane(figure.subplots(), plane)
    return save(figure, "paper_b_fig_4", args)


# %%
# The page
# --------

CAPTION_1 = "The first input of each kind, not chosen by its looks; first seed."
CAPTION_2 = """\
First seed; of attacks those that deceive the network. Boxes hold the middle half,
whiskers the middle 95 percent. In the paper the mean of S1 is high for correctly
classified inputs alone; the largest softmax does not tell PGD from them."""
CAPTION_4 = """\
Around the input of the first successful PGD attack (the target), in units of that
attack's change, first seed. The paper draws the mean as a surface coloured by the
predicted class; here it is the colour, and the hatches are the class. In the paper it
is high on both sides of the decision boundary, and lower behind it."""
NOT_RUN = [
    "1,000 injections per input (Fig. 3): see how many; they cost a forward and a "
    "backward pass each, for every sigma.",
    "The paper's values of sigma, and which inputs its Figs. 1 and 4 show: its text "
    "does not name them.",
    "Figures on other data than MNIST: the paper has none either.",
]


def main(arguments=None):
    """Draw the figures and write the page."""
    args = read_options(
        __doc__,
        arguments,
        n_anomalies=500,
        n_test=1000,
        n_attack=150,
        n_injections=100,
        n_zeta=50,
        n_grid=41,
        sigmas="0.001,0.01,0.03,0.1,0.3,1",
    )
    name = "mnist-cnn"
    if args.quick:
        args.n_injections, args.n_zeta, args.n_grid = 10, 5, 9
        args.sigmas = "0.01,0.3"
        name = name if args.data_dir else "digits"
    settings = [load_setting(name, seed, args) for seed in args.seeds]
    first = settings[0]
    anomalies = first.anomalies([*ATTACKS, *NOISE], args)
    parts = [zeta(s, seed, args) for s, seed in zip(settings, args.seeds, strict=True)]
    boxes, medians = figure_2(first, anomalies, args)
    sections = [
        ("Networks", describe(settings)),
        (
            "Figure 1: inputs and cosines",
            f"{figure_1(first, anomalies, args)}\n\n{CAPTION_1}",
        ),
        (
            "Figure 2: mean cosine and softmax",
            f"{boxes}\n\n{CAPTION_2}\n\n"
            f"{as_markdown(medians, percent=False, digits=3)}",
        ),
        (
            "Figure 3: zeta of Theorem 1",
            f"{figure_3(parts, args)}\n\n{describe_zeta(parts, args)}\n\n"
            f"{as_markdown(zeta_table(parts))}",
        ),
        (
            "Figure 4: landscape of the mean cosine",
            f"{figure_4(first, anomalies, args)}\n\n{CAPTION_4}",
        ),
        ("Not run here", "\n".join(f"- {item}" for item in NOT_RUN)),
    ]
    title = "Paper B: the landscape of the loss"
    return write_page("paper_b_landscape.md", title, args, sections)


if __name__ == "__main__":
    main()
