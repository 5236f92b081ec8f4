"""A network, its data and its anomalies, as the papers' experiments use them."""

from dataclasses import dataclass, field

import numpy as np
import torch

from skgrad.evaluation import AnomalySet, Threat, make_anomalies

# Other data that resemble the in-distribution data: objects of other classes,
# handwritten characters, heartbeats. All others are far.
NEAR = {
    "CIFAR-10 (JPEG)": "TinyImageNet",
    "MNIST": "Omniglot",
    "ECG5000": "ECG200",
}


@dataclass
class Setting:
    """A network, its data, and how strong its attackers are.

    Attributes
    ----------
    name : str
        The data set.
    network : str
        The network's name.
    model : torch.nn.Module
        The network.
    accuracy : float
        On inputs that the network was not trained on.
    seen : tuple of ndarray
        Inputs and classes that the network was trained on, as the papers fit
        detectors on.
    fresh : tuple of ndarray
        Inputs and classes to fit detectors on that it never saw.
    test : tuple of ndarray
        In-distribution inputs and classes to judge with.
    attacked : tuple of ndarray
        Inputs and classes to attack; none of the above.
    others : dict of str to ndarray
        Other data by name.
    threat : Threat
        How strong the attacks are.
    mistakes : ndarray, default=None
        Inputs that the network misclassifies; None if those among the attacked ones
        are to serve.
    made : dict of str to AnomalySet
        Further anomalies by name, which this setting makes itself.
    kinds : tuple of str, default=None
        What of `make_anomalies` makes sense for these inputs; None is everything.
    cannot : tuple of str
        Detectors that cannot judge such inputs, or take too long.
    first_layer : str, default="conv1"
        Name of the network's first layer, for paper C.
    batch_size : int, default=128
        Inputs that detectors pass through the network together.
    bit_depth : int, default=1
        Of feature squeezing: the paper's is 1 for digits, else 5.
    about : str, default=None
        The data and the anomalies in words; None if they are images of `load_dataset`.
    """

    name: str
    network: str
    model: torch.nn.Module
    accuracy: float
    seen: tuple
    fresh: tuple
    test: tuple
    attacked: tuple
    others: dict = field(repr=False)
    threat: Threat
    mistakes: np.ndarray | None = None
    made: dict = field(default_factory=dict, repr=False)
    kinds: tuple | None = None
    cannot: tuple = ()
    first_layer: str = "conv1"
    batch_size: int = 128
    bit_depth: int = 1
    about: str | None = None

    def anomalies(self, kinds, args, *, of_test=False):
        """Return anomalies by name, and the other data first.

        With ``of_test`` the test inputs themselves are attacked, as in paper A, the
        first ``n_attack`` of them, and the anomalies tell which they were.
        """
        X, y = self.attacked
        if of_test:
            X, y = (part[: args.n_attack] for part in self.test)
        sources = np.arange(len(X)) if of_test else None
        kinds = [k for k in kinds if self.kinds is None or k in self.kinds]
        if X.ndim < 4:  # only images can be turned
            kinds = [kind for kind in kinds if kind != "rotation"]
        made = make_anomalies(
            self.model,
            X,
            y,
            kinds,
            threat=self.threat,
            sources=sources,
            memory=args.memory,
            verbose=True,
        )
        if "misclassified" in made and self.mistakes is not None and not of_test:
            made["misclassified"] = AnomalySet(self.mistakes, group="mistakes")
        near = NEAR.get(self.name)
        others = {
            kind: AnomalySet(X, group="near data" if kind == near else "far data")
            for kind, X in self.others.items()
        }
        return others | self.made | made


def anomaly_sets(group, kinds):
    """Return sets of anomalies of one group by name, of tensors or arrays by name."""
    return {name: AnomalySet(np.asarray(X), group=group) for name, X in kinds.items()}


def threat(eps, seed, args, n_steps=None, **options):
    """Return how strong the attackers of a setting are."""
    return Threat(
        eps=eps,
        n_steps=3 if args.quick else n_steps,
        n_slow=args.n_slow,
        random_state=seed,
        **options,
    )


def is_right(model, X, y):
    """Return which inputs the network classifies correctly."""
    with torch.inference_mode():
        parts = torch.from_numpy(X).split(500)
        predicted = torch.cat([model(part).argmax(dim=1) for part in parts])
    return predicted.numpy() == y
