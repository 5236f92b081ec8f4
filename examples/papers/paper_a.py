"""
Paper A's experiments: confounding gradients
============================================

Tables 1 and 2 and Figure 3 of Lee, Prabhushankar and AlRegib (2022), "Gradient-Based
Adversarial and Out-of-Distribution Detection", our figures beside the paper's. Its
detector learns from the very kind of anomaly that it is to find; a third table tells
what is left for a user who does not know that kind, or no anomaly at all. Run
``train_networks.py`` first::

    python examples/papers/paper_a.py --data-dir ~/data --networks networks
    python examples/papers/paper_a.py --quick    # digits alone, half a minute
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from experiment_pages import write_page
from experiments import Setting, load_setting, read_options
from paper_a_norms import compare_norms
from paper_a_tables import (
    ATTACKS,
    DENSITY,
    EPSILON,
    FEWEST,
    MAHALANOBIS,
    NOISE,
    OURS,
    OURS_LOG,
    RECOMMENDED,
    make_sections,
)
from sklearn.pipeline import make_pipeline, make_union

from skgrad import (
    ClassConditionalGaussian,
    ConfoundingGradientTransformer,
    LayerActivationTransformer,
)
from skgrad.baselines import make_baselines
from skgrad.detectors import (
    make_confounding_gradient_detector,
    make_recommended_detector,
)
from skgrad.evaluation import Evaluation, evaluate

# %%
# Detectors
# ---------

# The feature ensemble's layers in its own paper: the first one and every stage.
STAGES = ["bn1", "layer1", "layer2", "layer3", "layer4"]


def learn_from_nothing(model):
    """Return the detectors that are fitted on in-distribution inputs alone."""
    plain = make_baselines(model)
    names = ["max softmax", "ODIN", "energy", "Mahalanobis", "Mahalanobis P"]
    gradients = ConfoundingGradientTransformer(model, log=True)
    logits = LayerActivationTransformer(model, "logits")
    density = ClassConditionalGaussian(include_logits=False)
    plain["ODIN"].set_params(eps=EPSILON)
    plain["Mahalanobis P"].set_params(eps=EPSILON)
    return {name: plain[name] for name in names} | {
        DENSITY: make_pipeline(make_union(gradients, logits), density),
        RECOMMENDED: make_recommended_detector(model),
    }


def learn_from_anomalies(model):
    """Return the detectors that learn from known anomalies."""
    learners = make_baselines(model, learn_from_anomalies=True)
    ensembles = {name: learners[name] for name in MAHALANOBIS[2:]}
    ensembles["Mahalanobis P+FE"].set_params(eps=EPSILON)
    stages = [stage for stage in STAGES if hasattr(model, stage)]
    if "layer3" in stages:
        for ensemble in ensembles.values():
            ensemble.set_params(layers=stages)
    baselines = {"LID": learners["LID"]} | ensembles
    for baseline in baselines.values():
        # Leaves more inputs to the Gaussians and neighbours.
        baseline.set_params(reference_fraction=0.1, calibration_fraction=0.1)
    return baselines | {
        OURS: make_confounding_gradient_detector(model),
        OURS_LOG: make_confounding_gradient_detector(model, log=True),
    }


# %%
# One network, all seeds
# ----------------------


@dataclass
class Study:
    """What was found out about networks of one kind, one for each seed."""

    settings: list[Setting]
    made: pd.DataFrame
    same: Evaluation
    others: Evaluation
    norms: pd.DataFrame

    @property
    def name(self):
        """The data set and the network."""
        return f"{self.settings[0].name}, {self.settings[0].network}"

    @property
    def attacks(self):
        """The attacks that are judged."""
        return [kind for kind in self.same.anomalies if kind in ATTACKS]


def study(name, args):
    """Judge all detectors on one network per seed."""
    settings, made, same, others, norms = [], [], [], [], []
    for seed in args.seeds:
        print(f"{name}, seed {seed}")
        setting = load_setting(name, seed, args)
        anomalies = make_anomalies(setting, args)
        made += [_row(kind, found) for kind, found in anomalies.items()]
        anomalies = {k: a for k, a in anomalies.items() if _count(a) >= FEWEST}
        same += judge_same(setting, anomalies, seed, args)
        others += judge_others(setting, anomalies, seed, args)
        norms.append(compare_norms(setting, anomalies, ATTACKS, seed, args))
        settings.append(setting)
    # Seeds tell more than the bootstrap does, which takes its time.
    tables = (Evaluation(results) for results in (same, others))
    return Study(settings, pd.DataFrame(made), *tables, pd.concat(norms))


def make_anomalies(setting, args):
    """Attack the test inputs themselves, as the paper does."""
    kinds = [kind for kind in ATTACKS if kind != "C&W"]
    made = setting.anomalies([*kinds, *NOISE], args, of_test=True)
    # One search of some steps in place of nine of thousands.
    threat = replace(setting.threat, n_steps=args.cw_steps)
    setting = replace(setting, threat=threat)
    made |= setting.anomalies(["C&W"], args, of_test=True)
    kinds = [*ATTACKS, *setting.others, *NOISE]
    return {kind: made[kind] for kind in kinds}


def _row(kind, found):
    rate = getattr(found, "success_rate", np.nan)
    return {"anomaly": kind, "number": _count(found), "rate": rate}


def _count(found):
    return len(getattr(found, "X", found))


def judge_same(setting, anomalies, seed, args):
    """Judge against the kind of anomaly that learners know: Tables 1 and 2."""
    attacks = {kind: found for kind, found in anomalies.items() if kind in ATTACKS}
    learners = learn_from_anomalies(setting.model)
    slow = {name: learners.pop(name) for name in [MAHALANOBIS[-1]]}
    plain = learn_from_nothing(setting.model)
    judge = _Judge(setting, seed, args, "A")
    return [
        *judge(plain, anomalies, args.n_fit),
        *judge(learners, anomalies, args.n_learn),
        *judge(slow, attacks, args.n_learn),
    ]


def judge_others(setting, anomalies, seed, args):
    """Judge learners against the kind that they do not know."""
    learners = learn_from_anomalies(setting.model)
    # For each kind its many passes would go over all anomalies of all other kinds.
    del learners[MAHALANOBIS[-1]]
    return _Judge(setting, seed, args, "A'")(learners, anomalies, args.n_learn)


@dataclass
class _Judge:
    """Judge detectors under a protocol, with so many inputs that the network saw."""

    setting: Setting
    seed: int
    args: object
    protocol: str

    def __call__(self, detectors, anomalies, n_fit):
        return evaluate(
            self.setting.model,
            detectors,
            self.setting.test[0],
            anomalies,
            X_fit=self.setting.seen[0][:n_fit],
            protocol=self.protocol,
            seeds=(self.seed,),
            memory=self.args.memory,
            verbose=True,
        ).results


def main(arguments=None):
    """Run the experiments and write the page."""
    args = read_options(
        __doc__,
        arguments,
        settings="cifar-resnet20,mnist-lenet",
        n_learn=600,
        n_anomalies=400,
        n_attack=400,
        n_slow=200,
        cw_steps=100,
        n_norms=200,
    )
    args.n_learn = min(args.n_learn, args.n_fit)
    embedded = args.quick and not args.data_dir
    names = ["digits"] if embedded else args.settings.split(",")
    studies = [study(name, args) for name in names]
    sections = make_sections(studies, args)
    return write_page("paper_a.md", "Paper A: confounding gradients", args, sections)


if __name__ == "__main__":
    main()
