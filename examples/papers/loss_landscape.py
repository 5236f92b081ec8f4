"""Zeta of Theorem 1 and the plane around an input: Figures 3 and 4 of paper B."""

import numpy as np
import torch
from sklearn.utils import Bunch

from skgrad import CosineSimilarityMatrixTransformer
from skgrad.feature_extraction import predict_logits
from skgrad.torch_engine.batching import prepare_batch
from skgrad.torch_engine.cotangents import class_cotangent
from skgrad.torch_engine.input_gradients import input_gradient
from skgrad.torch_engine.model_state import frozen, placement
from skgrad.torch_engine.scaling import unit

COLORS = {True: "tab:blue", False: "tab:red"}  # of correct and incorrect predictions
# How far the plane goes to each side, in lengths of the direction.
EXTENT = 1.5
# The class of the input is drawn without hatches.
HATCHES = ("", "//", "\\\\", "..", "xx", "--", "||", "++", "oo", "**")


# %%
# Theorem 1
# ---------


def loss_alignment(
    model, X, classes, *, sigma, n_injections=1000, batch_size=128, random_state=None
):
    r"""Measure at noisy copies of inputs how well descent of the loss leads back.

    An input x lies in a local minimum of the loss towards a class i if and only if the
    way back to it is one of descent from everywhere near it (Theorem 1). At the noisy
    copies :math:`\tilde x = x + \sigma n`, n standard normal, this returns (Eq. 3)

    .. math:: \zeta_x(\tilde x) = \frac{
              \langle -\nabla_x \mathcal{L}(F(\tilde x), i), x - \tilde x \rangle}{
              |\nabla_x \mathcal{L}(F(\tilde x), i)| \, |x - \tilde x|}.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier that returns logits (n_samples, n_classes).
    X : ndarray of shape (n_samples, *input_shape)
        The inputs x. Their copies are not clipped, as the paper mentions no clipping.
    classes : ndarray of int of shape (n_samples,)
        The classes i, in the paper the predicted ones.
    sigma : float
        Standard deviation of the noise, in units of X. In float32 at least a
        hundred-thousandth of the values of X, or rounding decides.
    n_injections : int, default=1000
        Noisy copies of each input; the default is the paper's.
    batch_size : int, default=128
        Copies per pass.
    random_state : int, default=None
        Draws the noise, input by input, so that later inputs change nothing.

    Returns
    -------
    ndarray of shape (n_samples, n_injections)
        Cosines in [-1, 1]; 0 where the gradient vanishes.
    """
    rng = np.random.RandomState(random_state)
    X = prepare_batch(X, input_shape=None, **placement(model))
    zeta = []
    with frozen(model):
        for x, label in zip(X, torch.as_tensor(classes, device=X.device), strict=True):
            noise = rng.normal(scale=sigma, size=(n_injections, *x.shape))
            nearby = x + torch.from_numpy(noise).to(x)
            parts = [
                _alignment(model, x, part, label.expand(len(part)))
                for part in nearby.split(batch_size)
            ]
            zeta.append(torch.cat(parts).cpu().numpy())
    return np.stack(zeta)


def _alignment(model, x, nearby, classes):
    # Scaled by a positive factor, which does not change the cosine.
    gradient, _ = input_gradient(
        model, nearby, lambda logits: class_cotangent(logits, classes)
    )
    # <-g, x - nearby> = <g, nearby - x>
    ascent, away = (unit(part.flatten(1)) for part in (gradient, nearby - x))
    return (ascent * away).sum(dim=1).clamp(-1, 1)


def draw_alignment(ax, zeta, correct, sigmas):
    """Draw violins of zeta (n_sigmas, n_inputs, n_injections), the line their median.

    Inputs that are classified correctly, as ``correct`` (n_inputs,) says, have other
    violins than the rest.
    """
    places, handles = np.arange(len(sigmas)), []
    both = correct.any() and not correct.all()
    for is_correct, offset in ((True, -0.2), (False, 0.2)):
        part = zeta[:, correct == is_correct]
        n_inputs = part.shape[1]
        if not n_inputs:
            continue
        drawn = ax.violinplot(
            [values.ravel() for values in part],
            places + offset * both,
            widths=0.38,
            showmedians=True,
        )
        lines = [drawn[name] for name in ("cmedians", "cbars", "cmins", "cmaxes")]
        for shape in (*drawn["bodies"], *lines):
            shape.set_color(COLORS[is_correct])
        adverb = "correctly" if is_correct else "incorrectly"
        count = f"{n_inputs} input{'s' if n_inputs > 1 else ''}"
        drawn["bodies"][0].set_label(f"classified {adverb} ({count})")
        handles.append(drawn["bodies"][0])
    ax.axhline(0, color="gray", linewidth=0.8)
    ax.set_xticks(places, [f"{sigma:g}" for sigma in sigmas])
    ax.set_xlabel("standard deviation of the noise, in units of the inputs")
    ax.set_ylabel("zeta (above 0: descent leads back)")
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
    ax.legend(handles=handles, frameon=False, ncols=2, **above)


# %%
# A plane through an input
# ------------------------


def orthogonal(along, across):
    """Return the part of ``across`` orthogonal to ``along``, as long as ``along``."""
    # Gram-Schmidt
    across = across - (across * along).sum() / (along**2).sum() * along
    return across * (np.linalg.norm(along) / np.linalg.norm(across))


def measure_plane(model, x, target, across, *, n_grid=41):
    """Measure the mean of S1 in a plane through an input, and the predicted classes.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier that returns logits of 3 or more classes.
    x, target : ndarray of shape input_shape
        The input, and another one, which the first direction leads to.
    across : ndarray of shape input_shape
        A direction, whose part orthogonal to the first leads across.
    n_grid : int, default=41
        Points along each direction. They are not clipped to valid inputs, so that they
        stay in the plane.

    Returns
    -------
    Bunch
        ``steps`` (n_grid,) from x at 0 to the target at 1, ``heights`` and ``classes``
        (n_grid, n_grid), along first, then across, and ``length``, the Euclidean
        distance of the target.
    """
    # In float64, as float16 would round small steps to none.
    x, target, across = (np.asarray(part, np.float64) for part in (x, target, across))
    along = target - x
    across = orthogonal(along, across)
    steps = np.linspace(-EXTENT, EXTENT, n_grid)
    points = np.stack([x + a * along + b * across for a in steps for b in steps])
    cosines = CosineSimilarityMatrixTransformer(model).fit_transform(points)
    classes = np.asarray(predict_logits(model, points)).argmax(axis=1)
    return Bunch(
        steps=steps,
        # The first of the statistics is the mean of S1.
        heights=np.asarray(cosines)[:, 0].reshape(n_grid, n_grid),
        classes=classes.reshape(n_grid, n_grid),
        length=float(np.linalg.norm(along)),
    )


def draw_plane(ax, plane):
    """Draw what `measure_plane` returns: heights as colours, classes as hatches."""
    steps = plane.steps
    drawn = ax.contourf(steps, steps, plane.heights.T, levels=20, cmap="viridis")
    label = "mean cosine of the classes\nthat are not predicted (mean of S1)"
    ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.85)
    handles = _draw_classes(ax, plane)
    style = {"color": "white", "markeredgecolor": "black", "markersize": 9}
    for place, marker, name in ((0, "o", "input"), (1, "X", "target")):
        handles += ax.plot(place, 0, marker, label=name, **style)
    ax.set_xlabel(f"along the way to the target (1 = {plane.length:.3g})")
    ax.set_ylabel(f"across (1 = {plane.length:.3g})")
    ax.set(aspect="equal", xlim=steps[[0, -1]], ylim=steps[[0, -1]])
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "fontsize": 8}
    size = {"handlelength": 2.5, "handleheight": 1.2}
    ax.legend(handles=handles, frameon=False, ncols=4, **above, **size)


def _draw_classes(ax, plane):
    """Draw borders of classes and hatches; return handles for the legend."""
    from matplotlib.patches import Patch

    steps, handles = plane.steps, []
    middle = np.abs(steps).argmin()
    of_input = plane.classes[middle, middle]
    seen = sorted(set(plane.classes.ravel().tolist()), key=lambda k: (k != of_input, k))
    for i, k in enumerate(seen):
        inside, hatch = (plane.classes == k).T, HATCHES[i % len(HATCHES)]
        look = {"facecolor": "white", "edgecolor": "black", "hatch": hatch, "lw": 0.5}
        handles.append(Patch(label=f"predicted {k}", **look))
        if len(seen) == 1:
            break
        if hatch:
            filled = {"levels": (0.5, 1.5), "colors": "none", "hatches": [hatch]}
            hatched = ax.contourf(steps, steps, inside, **filled)
            hatched.set_edgecolor((0, 0, 0, 0.6))
            hatched.set_linewidth(0)
        border = {"levels": (0.5,), "colors": "black", "linewidths": 1}
        ax.contour(steps, steps, inside, **border)
    return handles
