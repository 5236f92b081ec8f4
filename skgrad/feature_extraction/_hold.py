"""Hold a network over many calls."""

from contextlib import contextmanager

from ..torch_engine.holding import held
from ..torch_engine.model_state import unwrap_model


@contextmanager
def hold(model):
    """Hold a network still over many calls, each of which then costs less.

    Each call of an estimator on a model looks at all of its modules, parameters and
    buffers: to leave them as they were, and to run in evaluation mode. Inside of this
    block that is done once. It is meant for services that answer requests of one or a
    few inputs; with large batches the time is not noticed.

    Inside of the block the model is in evaluation mode, also for code of your own;
    each call restores everything else. At the end the modes of all modules are
    restored, also after an exception.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The model that was given to the estimators. It is held itself, not a copy.

    Yields
    ------
    None

    Warns
    -----
    UserWarning
        At the end of the block, if the model changed inside of it: a parameter was
        written to, a buffer has other values, a module or parameter was added,
        replaced or removed, or a module was in training mode. Answers in between may
        come from different networks. What others changed, apart from modes, stays
        changed.

    Notes
    -----
    Results are the same as without the block, bit for bit. Threads may share it: only
    calls take turns on a network, as everywhere. Blocks may be nested, and several
    threads may hold one model; the last block to end restores and warns.

    A parameter's change is told by torch's count of writes and by its memory, so values
    that are written through ``.data`` or a numpy array are not noticed. Attributes that
    are no parameters, buffers or modules are not looked at.

    Calls on anything but this very module cost what they cost outside: on a wrapper
    around it, on a part of it, and those of an estimator whose ``device`` is another
    than the model's, because it works on a copy.

    Examples
    --------
    >>> import skgrad, torch
    >>> from skgrad import LayerActivationTransformer
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Sequential(torch.nn.Linear(4, 3)), torch.randn(100, 4)
    >>> transformer = LayerActivationTransformer(model).fit(X)
    >>> with skgrad.hold(model):
    ...     answers = [transformer.transform(x[None]) for x in X]
    >>> len(answers), model.training
    (100, True)
    """
    with held(unwrap_model(model)):
        yield
