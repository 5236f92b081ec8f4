"""The family of cosine similarities between saliency maps (paper B)."""

from numbers import Integral, Real

from torch import Tensor

from .._compat import Interval, StrOptions
from .._several import sample_shape
from ..torch_engine.cosines import (
    STATISTICS,
    Maps,
    cosine_statistics,
    most_samples,
    upper_pairs,
)
from ..torch_engine.network_pass import Wanted
from ._family import BaseFamily


class SaliencyCosines(BaseFamily):
    """Cosines between the saliency maps of all classes, a family of `NetworkFeatures`.

    Parameters
    ----------
    output, sign, top_n, channel_reduction, logit_scale : optional
        As in `CosineSimilarityMatrixTransformer`, which has these columns alone.

    Notes
    -----
    Of networks that take whole numbers, the maps are those of the output of the first
    embedding that they are looked up in; of several inputs of floats, all side by side.

    Examples
    --------
    >>> from skgrad.feature_extraction import SaliencyCosines
    >>> SaliencyCosines(output="upper")
    SaliencyCosines(output='upper')
    """

    _parameter_constraints: dict = {
        "output": [StrOptions({"statistics", "upper", "matrix"})],
        "sign": ["boolean"],
        "top_n": [Interval(Integral, 2, None, closed="left"), None],
        "channel_reduction": [StrOptions({"max"}), None],
        "logit_scale": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        *,
        output="statistics",
        sign=True,
        top_n=None,
        channel_reduction=None,
        logit_scale=None,
    ):
        self.output = output
        self.sign = sign
        self.top_n = top_n
        self.channel_reduction = channel_reduction
        self.logit_scale = logit_scale

    def _asks(self):
        return {"inputs": True}

    def _fit(self, probe):
        n_classes = probe.n_classes
        if self.top_n is not None and self.top_n > n_classes:
            raise ValueError(
                f"top_n must be None or 2 to {n_classes}, the number of classes of the "
                f"model; got {self.top_n}."
            )
        self._check_channels(probe.x)
        n_maps = self.top_n or n_classes
        # Of two classes there is no pair without the predicted one.
        if self.output == "statistics" and n_maps < 3:
            raise ValueError(
                f"output='statistics' needs 3 or more classes; got {n_maps} "
                f"{'as top_n' if self.top_n else 'in this model'}. Use output='upper'."
            )
        probe.check_input_gradient()
        self._embedding = probe.leaf.embedding
        self._map_shape = tuple(probe.leaf.tensor.shape[1:])
        self._n_classes = n_classes
        if self.output != "statistics":
            return self._pair_names(n_maps)
        # The pairs without the predicted class, and those with it (Sec. 4.2.3).
        sets = ("others", "predicted")
        return [f"{which}_{name}" for which in sets for name in STATISTICS]

    def _check_channels(self, x):
        if self.channel_reduction is None:
            return
        shape = sample_shape(x)
        # The first axis of an embedding are positions, and several inputs have many.
        if not (isinstance(x, Tensor) and x.is_floating_point() and len(shape) >= 2):
            raise ValueError(
                "channel_reduction needs samples of floats with channels, such as "
                f"(n_channels, height, width); got shape {shape}. Use None."
            )

    def _pair_names(self, n_maps):
        width = len(str(n_maps - 1))
        prefix = "cosine_top" if self.top_n else "cosine"
        return [
            f"{prefix}_{i:0{width}d}_{j:0{width}d}"
            for i in range(n_maps)
            for j in range(n_maps)
            if i < j or self.output == "matrix"
        ]

    def _wants(self):
        return Wanted(inputs=True, logits=True, n_backward=1, embedding=self._embedding)

    def _most_samples(self):
        return most_samples(self._map_shape, self._maps(), self._n_classes)

    def _maps(self):
        return Maps(self.sign, self.top_n, self.channel_reduction, self.logit_scale)

    def _columns(self, run):
        matrices, predicted = run.cosines(self._maps())
        if self.output == "statistics":
            return cosine_statistics(matrices, predicted)
        # The matrix is symmetric with ones on its diagonal, so "upper" loses nothing.
        if self.output == "upper":
            rows, columns = upper_pairs(matrices)
            return matrices[:, rows, columns]
        return matrices.flatten(1)
