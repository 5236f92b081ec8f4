"""What the norm of an attack decides: the step, the projection and the noise."""

import numpy as np
import torch

from ..torch_engine.model_state import at_least_float32
from ..torch_engine.scaling import unit


class LinfBall:
    """All inputs none of whose values differs by more than eps."""

    def __init__(self, eps):
        self.eps = eps

    def direction(self, gradient):
        """Return the steepest step of length 1 in the norm."""
        return gradient.sign()

    def project(self, x, centre):
        """Return the nearest points of the ball around ``centre``."""
        return x.clamp(centre - self.eps, centre + self.eps)

    def draw(self, generator, x):
        """Draw a uniform change for each sample of x, sample after sample."""
        noise = generator.uniform(-self.eps, self.eps, size=tuple(x.shape))
        return torch.from_numpy(noise).to(x)


class L2Ball:
    """All inputs at a Euclidean distance of at most eps."""

    def __init__(self, eps):
        self.eps = eps

    def direction(self, gradient):
        """Return the steepest step of length 1, 0 where there is no gradient."""
        return unit(gradient).to(gradient)

    def project(self, x, centre):
        """Return the nearest points of the ball around ``centre``."""
        change = at_least_float32(x - centre)
        lengths = per_sample(torch.linalg.vector_norm(change.flatten(1), dim=1), x)
        # At the centre the quotient is infinite, and the change stays 0.
        return centre + (change * (self.eps / lengths).clamp(max=1)).to(x)

    def draw(self, generator, x):
        """Draw a uniform change for each sample of x, sample after sample."""
        n_values = x[0].numel()
        # The first d coordinates of a uniform point on the sphere in d + 2 dimensions
        # are uniform in the ball in d dimensions.
        points = generator.standard_normal(size=(len(x), n_values + 2))
        points *= self.eps / np.linalg.norm(points, axis=1, keepdims=True)
        return torch.from_numpy(points[:, :n_values].reshape(x.shape)).to(x)


BALLS: dict[str, type[LinfBall] | type[L2Ball]] = {"linf": LinfBall, "l2": L2Ball}


def per_sample(values, x):
    """Give one value per sample the axes of x."""
    return values.view(-1, *[1] * (x.ndim - 1))
