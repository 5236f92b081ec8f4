"""The baselines against pytorch-ood's: same network, same data, same AUROC."""

import numpy as np
import pytest
import torch
from networks import BatchNormNet, images, seeded
from numpy.testing import assert_allclose
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from torch import nn

from skgrad import Energy, LayerActivationTransformer, MaxLogit, MaxSoftmaxProbability
from skgrad.baselines import ODIN, GradNorm

library = pytest.importorskip("pytorch_ood.detector")


class Plain(BatchNormNet):
    """Counts nothing: torch.func, which some detectors use, refuses that."""

    def forward(self, x):
        x = self.norm(self.conv(x)).relu().mean(dim=(2, 3))
        return self.head(self.drop(x))


def draw(n_samples, seed):
    """Draw noisy images of three classes, which differ in where they are bright."""
    x = images(n_samples, (2, 6, 6), seed=seed)
    y = np.arange(n_samples) % 3
    x[y == 0, 0] += 0.4
    x[y == 1, 1] += 0.4
    return x, y


def trained():
    net = seeded(Plain)
    x, y = map(torch.from_numpy, draw(300, seed=1))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    return net.eval()


with torch.random.fork_rng(devices=[]):
    torch.manual_seed(0)  # for dropout
    NET = trained()
X, _ = draw(300, seed=2)
# Less bright, and noisier: some of these look like one of the classes.
OTHERS = 1.5 * images(200, (2, 6, 6), seed=3) - 0.1


def over_logits(detector):
    return lambda net: make_pipeline(
        LayerActivationTransformer(net, "logits"), detector
    )


def odin(**options):
    return lambda net: ODIN(net, random_state=0, **options)


def their_odin(temperature, epsilon):
    return lambda net: library.ODIN(net, temperature=temperature, eps=epsilon)


def their_gradnorm(temperature):
    return lambda net: library.GradNorm(
        net, lambda name: name == "head.weight", temperature=temperature
    )


PAIRS = {
    "max softmax": (over_logits(MaxSoftmaxProbability()), library.MaxSoftmax),
    "max logit": (over_logits(MaxLogit()), library.MaxLogit),
    "energy": (over_logits(Energy()), library.EnergyBased),
    **{
        f"ODIN, T={t}, eps={e}": (odin(temperature=t, epsilon=e), their_odin(t, e))
        for t in (1.0, 10.0, 1000.0)
        for e in (0.0, 0.0014, 0.05)
    },
    **{
        f"GradNorm, T={t}": (
            lambda net, t=t: GradNorm(net, temperature=t, random_state=0),
            their_gradnorm(t),
        )
        for t in (1.0, 2.0)
    },
}


def scores_of(pair, dtype):
    """Return our scores, and the opposite of theirs, of X and the others."""
    net = seeded(Plain).eval()
    net.load_state_dict(NET.state_dict())
    net = net.to(dtype)
    make, make_theirs = pair
    both = torch.from_numpy(np.concatenate([X, OTHERS])).to(dtype)
    ours = make(net).fit(both[:300]).score_samples(both)
    return ours, -make_theirs(net).predict(both).detach().numpy()


def auroc(scores):
    return roc_auc_score(np.repeat([1, 0], [len(X), len(OTHERS)]), scores)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_same_auroc(pair, dtype):
    ours, theirs = scores_of(pair, dtype)
    assert 0.55 < auroc(ours) < 0.999
    # Four digits. Theirs are probabilities in the dtype of the network: what float32
    # rounds to ties there, at high temperature and near 1, moves no more than that.
    assert abs(auroc(ours) - auroc(theirs)) < 5e-5
    if dtype == torch.float64:
        assert_allclose(rankdata(ours), rankdata(theirs), atol=1)


def test_same_values():
    for name in ("max logit", "energy", "GradNorm, T=1.0", "GradNorm, T=2.0"):
        assert_allclose(*scores_of(PAIRS[name], torch.float64), rtol=1e-9)
    for name in ("max softmax", "ODIN, T=10.0, eps=0.05"):
        ours, theirs = scores_of(PAIRS[name], torch.float64)
        # Ours is the log-odds of theirs.
        assert_allclose(ours, np.log(theirs) - np.log1p(-theirs), rtol=1e-6)


def test_saturation_costs_them_digits():
    # Where the softmax rounds to 1, theirs are ties and ours are not.
    net = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        net.weight.copy_(40 * torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0]] * 60)
    theirs = -library.MaxSoftmax(net).predict(x)
    assert theirs.unique().tolist() == [1.0]
    ours = over_logits(MaxSoftmaxProbability())(net).fit(x.numpy())
    assert len(np.unique(ours.score_samples(x.numpy()))) == 2
