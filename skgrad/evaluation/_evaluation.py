"""The results of an evaluation, as tables and reports."""

import platform
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import sklearn
import torch

from .._arrays import nan_mean, nan_spread
from .._files import replacing
from .._messages import brief
from .._optional import import_package
from ._measures import means_by_group, regrets_by_seed
from ._protocols import PROTOCOLS
from ._result import METRICS, Result


class Evaluation:
    """The results of an evaluation: detectors against anomalies.

    Two of them add up to one with the results of both.

    Parameters
    ----------
    results : list of Result
        One per detector, kind of anomaly, seed and fold; also an attribute.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.evaluation import Evaluation, Result
    >>> known, strange = np.arange(100.0), np.arange(-50.0, 0.0)
    >>> results = [Result("LODA", "noise", known, strange, offset=4.5)]
    >>> Evaluation(results).summary("auroc").loc["noise", "LODA"].item()
    1.0
    """

    def __init__(self, results):
        self.results = list(results)

    def __add__(self, other):
        common = set(map(_place, self.results)) & set(map(_place, other.results))
        if common:
            detector, anomaly, seed, _ = min(common)
            raise ValueError(
                "evaluations that are added must differ in detectors, anomalies or "
                f"seeds; both hold {detector!r} against {anomaly!r}, seed {seed}. Give "
                "the detectors other names."
            )
        return Evaluation(self.results + other.results)

    @property
    def detectors(self):
        """Names of the detectors, in the order of evaluation."""
        return self._each("detector")

    @property
    def anomalies(self):
        """Names of the kinds of anomaly, in the order of evaluation."""
        return self._each("anomaly")

    @property
    def seeds(self):
        """The seeds, each once."""
        return self._each("seed")

    @property
    def protocols(self):
        """Names of the protocols, each once."""
        return self._each("protocol")

    @property
    def groups(self):
        """The group of each kind of anomaly, by kind.

        Those of `make_anomalies` have one; other anomalies get theirs as
        ``AnomalySet(X, group="near data")``, and without one form the group "other".
        """
        found: dict = {}
        for result in self.results:
            if found.setdefault(result.anomaly, result.group) != result.group:
                raise ValueError(
                    "results must have one group for each kind of anomaly; those of "
                    f"{result.anomaly!r} have {found[result.anomaly]!r} and "
                    f"{result.group!r}."
                )
        return found

    def _each(self, name):
        return list(dict.fromkeys(getattr(r, name) for r in self.results))

    @cached_property
    def frame(self):
        """The table: a data frame with a row per detector, anomaly, seed and fold.

        All metrics are fractions; ``_low`` and ``_high`` are the ends of their 95 %
        confidence intervals. ``realised_fpr`` is the share of in-distribution test
        inputs that are rejected, ``rejected_anomalies`` that of anomalies. Rows of
        attacks that never succeeded hold NaN.
        """
        pandas = import_pandas()
        ends: list = [{} for _ in self.results]
        for row, result in zip(ends, self.results, strict=True):
            for name, (low, high) in result.intervals.items():
                row |= {f"{name}_low": low, f"{name}_high": high}
        return self.figures.join(pandas.DataFrame(ends))

    @cached_property
    def figures(self):
        """The table without the confidence intervals, which take their time."""
        return import_pandas().DataFrame(self._rows)

    @cached_property
    def _rows(self):
        return [_row(result) for result in self.results]

    def summary(self, metric="auroc", *, by="kind", spread=False):
        """Average a metric over seeds and folds.

        A mean over kinds is a mean over what most kinds are, such as attacks that are
        much alike. Means by group count every group once.

        Parameters
        ----------
        metric : str, default="auroc"
            A column of `frame` that holds numbers.
        by : {"kind", "group"}, default="kind"
            What has a row. That of a group is the mean over its kinds (`groups`).
        spread : bool, default=False
            Return the standard deviation over the seeds (of the mean over folds)
            in place of the mean; NaN with one seed.

        Returns
        -------
        pandas.DataFrame
            A row per kind of anomaly, or per group, and one for the mean of these
            rows; a column per detector.

        Examples
        --------
        >>> import numpy as np
        >>> from skgrad.evaluation import Evaluation, Result
        >>> known, low, equal = np.ones(9), np.zeros(9), np.ones(9)
        >>> kinds = {"FGSM": (equal, "attacks"), "PGD": (equal, "attacks")}
        >>> kinds["photos"] = low, "far data"
        >>> evaluation = Evaluation(
        ...     Result("LODA", kind, known, scores, 0.5, group=group)
        ...     for kind, (scores, group) in kinds.items()
        ... )
        >>> evaluation.summary(by="group")["LODA"].to_dict()
        {'attacks': 0.5, 'far data': 1.0, 'mean': 0.75}
        """
        if by not in ("kind", "group"):
            raise ValueError(f'by must be "kind" or "group"; got {brief(by)}.')
        names, by_seed = self.anomalies, self._values(metric)
        if by == "group":
            means = means_by_group(self, by_seed)
            names, by_seed = list(means), np.stack([*means.values()], axis=1)
        # The mean over rows within each seed, so that its spread is that of the mean.
        by_seed = np.concatenate([by_seed, nan_mean(by_seed, axis=1)[:, None]], axis=1)
        return self._table(nan_spread(by_seed) if spread else nan_mean(by_seed), names)

    def regret(self, metric="auroc", *, spread=False):
        r"""Return by how much the best rival exceeds each detector.

        What it costs to have chosen this detector and not the one that turns out best
        for the kind of anomaly that comes. With :math:`a_d(k)` the metric of detector d
        against kind k, averaged over folds and seeds, the regret is

        .. math:: \max_{d'} a_{d'}(k) - a_d(k) \ge 0,

        0 for the best. The mean regret ranks detectors that met the same kinds as their
        mean does. The largest shows what means hide: a kind that others find and this
        detector does not.

        Parameters
        ----------
        metric : str, default="auroc"
            A metric of which more is better: "auroc", "tnr_at_95tpr", "aupr_in",
            "aupr_out" or "detection_accuracy".
        spread : bool, default=False
            Return the standard deviation over the seeds of the distance to the best
            rival, one for all seeds, in place of the regret; NaN with one seed.

        Returns
        -------
        pandas.DataFrame
            A row per kind of anomaly and one for their mean, a column per detector.
            NaN where no other detector has a figure. ``max()`` is the largest regret,
            ``idxmax()`` the kind where it is.

        Notes
        -----
        Rivals are the detectors of this evaluation: with more of them regrets grow, so
        compare regrets within one table. Of many rivals one leads by luck where kinds
        have few anomalies.

        References
        ----------
        Savage (1951), "The Theory of Statistical Decision".

        Examples
        --------
        >>> import numpy as np
        >>> from skgrad.evaluation import Evaluation, Result
        >>> known, low, equal = np.ones(9), np.zeros(9), np.ones(9)
        >>> evaluation = Evaluation(
        ...     Result(detector, kind, known, scores, 0.5)
        ...     for kind, one, two in [("noise", low, equal), ("PGD", low, low)]
        ...     for detector, scores in [("one", one), ("two", two)]
        ... )
        >>> regret = evaluation.regret()
        >>> regret["two"].to_dict()
        {'noise': 0.5, 'PGD': 0.0, 'mean': 0.25}
        >>> regret["two"].idxmax()
        'noise'
        """
        if metric not in METRICS:
            raise ValueError(
                f"metric must be one of {', '.join(METRICS)}; got {brief(metric)}."
            )
        regrets, by_seed = regrets_by_seed(self, metric)
        if spread:
            means = nan_spread(nan_mean(by_seed, axis=1))
            regrets = nan_spread(by_seed)
        else:
            means = nan_mean(regrets)
        return self._table(np.column_stack([regrets, means]), self.anomalies)

    def _table(self, values, names):
        """Return figures, shape (n_detectors, n_names + 1), the last the mean."""
        pandas = import_pandas()
        columns = pandas.Index(self.detectors, name="detector")
        return pandas.DataFrame(values.T, index=[*names, "mean"], columns=columns)

    def _values(self, figure):
        """Average a figure over folds; shape (n_detectors, n_anomalies, n_seeds).

        ``figure`` is a column of `figures` or a function of a result. What does not
        exist is NaN.
        """
        if not self.results:
            raise ValueError(
                "results must hold at least one Result; got none. Run an evaluation."
            )
        if not callable(figure):
            first = self._rows[0]
            valid = [name for name in first if not isinstance(first[name], str)]
            if figure not in valid:
                raise ValueError(
                    f"metric must be one of {', '.join(valid)}; got {figure!r}."
                )
        # Folds first: a fold of one seed must not weigh as much as another seed.
        axes = self.detectors, self.anomalies, self.seeds
        places = [{name: i for i, name in enumerate(axis)} for axis in axes]
        folds = np.full(
            [*map(len, axes), max(r.fold for r in self.results) + 1], np.nan
        )
        for result, row in zip(self.results, self._rows, strict=True):
            names = result.detector, result.anomaly, result.seed
            place = (at[name] for at, name in zip(places, names, strict=True))
            value = figure(result) if callable(figure) else row[figure]
            folds[*place, result.fold] = value
        return nan_mean(folds)

    def _first(self):
        """Return one result for each cell, of the first seed and fold that it has."""
        first: dict = {}
        for result in self.results:
            first.setdefault((result.detector, result.anomaly), result)
        return first

    @property
    def notes(self):
        """How it was made, by name: protocol, seeds, sizes, versions, date."""
        known = [name for name in self.protocols if name in PROTOCOLS]
        return {
            **{f"protocol {p}": PROTOCOLS[p].description for p in known},
            "seeds": ", ".join(map(str, self.seeds)),
            "in-distribution test inputs": self._range("n_in_distribution"),
            "anomalies per kind": self._range("n_anomalies"),
            "confidence intervals": "95 %; bootstrap, of shares Wilson's",
            "date": date.today().isoformat(),
            "versions": f"Python {platform.python_version()}, torch "
            f"{torch.__version__}, scikit-learn {sklearn.__version__}, numpy "
            f"{np.__version__}; {platform.system()} {platform.machine()}",
        }

    def _range(self, size):
        sizes = [row[size] for row in self._rows]
        low, high = min(sizes), max(sizes)
        return str(low) if low == high else f"{low} to {high}"

    def write(self, folder, *, title="Evaluation", notes=None):
        """Write ``table.csv``, ``table.md`` and ``report.html``.

        Parameters
        ----------
        folder : str or Path
            Created if it does not exist. Files of these names are replaced.
        title : str, default="Evaluation"
            The heading.
        notes : dict of str to str, default=None
            Further notes for the reader, such as the data and the model.

        Returns
        -------
        list of Path
            The files.

        Notes
        -----
        The page has detectors in the order of their mean AUROC over groups, intervals
        averaged over folds and seeds, and the score distributions of the six best
        detectors and the eight hardest kinds of anomaly. If a file cannot be written,
        the one that was there before stays as it was.
        """
        from ._html import write_html
        from ._tables import write_markdown

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / name for name in ("table.csv", "table.md", "report.html")]
        notes = {**(notes or {}), **self.notes}
        with replacing(files[0]) as part:
            self.frame.to_csv(part, index=False)
        write_markdown(self, files[1], title=title, notes=notes)
        write_html(self, files[2], title=title, notes=notes)
        return files

    def __repr__(self):
        sizes = (
            f"{len(self.detectors)} detectors, {len(self.anomalies)} kinds of anomaly"
        )
        return f"<Evaluation: {sizes}, {len(self.seeds)} seed(s)>"


def as_evaluation(results):
    """Return an Evaluation or a list of results as an Evaluation."""
    found = getattr(results, "results", results)
    if not isinstance(found, list) or not all(isinstance(r, Result) for r in found):
        raise TypeError(
            f"results must be an Evaluation or a list of Result; got {brief(results)}."
        )
    return Evaluation(found)


def import_pandas():
    """Import pandas; the error says how to install it."""
    return import_package("pandas", "Tables of results need", "report")


def _place(result):
    return result.detector, result.anomaly, result.seed, result.fold


def _row(result):
    return {
        "protocol": result.protocol,
        "detector": result.detector,
        "anomaly": result.anomaly,
        "group": result.group,
        "seed": result.seed,
        "fold": result.fold,
        "n_in_distribution": len(result.scores_id),
        "n_anomalies": len(result.scores_anomaly),
        **result.metrics,
        "realised_fpr": result.realised_fpr,
        **result.class_weighted_metrics,
        "fit_seconds": result.fit_seconds,
        "score_seconds": result.score_seconds,
        "peak_memory_mb": result.peak_memory / 2**20,
    }
