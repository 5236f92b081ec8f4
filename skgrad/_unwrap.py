"""Look inside pipelines, unions, searches and wrappers."""

from sklearn.pipeline import FeatureUnion, Pipeline


def unwrap(estimator):
    """Return what scores inside of searches, frozen estimators and ConformalDetector.

    It is the first one inside that is none of these: a pipeline or a plain detector.
    """
    while (inner := _inner(estimator)) is not None:
        estimator = inner
    return estimator


def _inner(estimator):
    """Return the estimator that a wrapper delegates to, None for all others."""
    if hasattr(estimator, "best_estimator_"):  # a fitted search
        return estimator.best_estimator_
    # FrozenEstimator, a search that is not fitted, and our own wrappers.
    name = getattr(estimator, "_wrapped", None)
    theirs = ("sklearn.frozen", "sklearn.model_selection")
    if name is None and type(estimator).__module__.startswith(theirs):
        name = "estimator"
    return getattr(estimator, name, None) if name else None


def find_outermost(estimator, kind):
    """Return the outermost estimator of a class at the end of pipelines and wrappers.

    None if there is none.
    """
    while estimator is not None and not isinstance(estimator, kind):
        steps = isinstance(estimator, Pipeline)
        estimator = estimator[-1] if steps else _inner(estimator)
    return estimator


def steps_of(estimator):
    """Return the estimators that X passes, with pipelines and wrappers taken apart."""
    estimator = unwrap(estimator)
    if isinstance(estimator, Pipeline):
        return [part for _, step in estimator.steps for part in steps_of(step)]
    return [] if estimator in (None, "passthrough") else [estimator]


def last_step(estimator):
    """Return the detector at the end of pipelines, however they are wrapped."""
    estimator = unwrap(estimator)
    while isinstance(estimator, Pipeline):
        estimator = unwrap(estimator[-1])
    return estimator


def first_steps(estimator):
    """Return the estimators that receive X as it is.

    A step that is a word, such as the ``"mean"`` of a KDE, is returned as it is.
    """
    estimator = unwrap(estimator)
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps]
        steps = [step for step in steps if step not in (None, "passthrough")]
        return first_steps(steps[0]) if steps else []
    if isinstance(estimator, FeatureUnion):
        parts = [part for _, part in estimator.transformer_list if part != "drop"]
        return [first for part in parts for first in first_steps(part)]
    return [estimator]


def split_pipeline(pipeline, condition):
    """Cut a pipeline behind the last step that meets a condition.

    ``condition`` takes a step and returns True or False; the last step is not asked.
    Returns the pipelines of the steps up to and with that one, None if no step meets
    the condition, and of the steps after it.
    """
    steps = [step for _, step in pipeline.steps[:-1]]
    found = [number for number, step in enumerate(steps, 1) if condition(step)]
    if not found:
        return None, pipeline
    return pipeline[: found[-1]], pipeline[found[-1] :]


def find_step(estimator, kind, before=()):
    """Return the first step of a class, however deep in pipelines and unions.

    Returns the step, None if there is none, and the pipelines that transform X on its
    way to it, in order: ``before`` holds those that X has passed already.
    """
    estimator = unwrap(estimator)
    if isinstance(estimator, kind):
        return estimator, before
    parts = []
    if isinstance(estimator, Pipeline):
        for number, (_, step) in enumerate(estimator.steps):
            parts.append((step, (*before, estimator[:number]) if number else before))
    elif isinstance(estimator, FeatureUnion):
        parts = [(part, before) for _, part in estimator.transformer_list]
    for part, passed in parts:
        step, passed = find_step(part, kind, passed)
        if step is not None:
            return step, passed
    return None, ()


def transform_to_last_step(estimator, X):
    """Return X as the last step of fitted pipelines receives it."""
    estimator = unwrap(estimator)
    while isinstance(estimator, Pipeline):
        if len(estimator.steps) > 1:
            X = estimator[:-1].transform(X)
        estimator = unwrap(estimator[-1])
    return X
