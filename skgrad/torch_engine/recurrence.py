"""Recurrent layers written out step by step, as calls of linear layers and their sums.

The kernels of torch for a whole sequence hide what a rule for gradient norms needs: the
gradient at the gates of each step.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

# The state of a layer: what it hands on, and the memory of an LSTM.
State = tuple[Tensor, ...]


class Cell(NamedTuple):
    """One step of a recurrent layer.

    ``step`` takes what the input gives to the gates, what the state gives (n_samples,
    n_gates), and the state; with ``sums_up`` the second is the sum of both.
    """

    step: Callable[[Tensor, Tensor, State], State]
    sums_up: bool


class Recurrence(NamedTuple):
    """A call of `torch.lstm`, `torch.gru` or their like.

    ``states`` are those that the layers start from, each (n_layers * n_directions,
    n_samples, n_hidden); ``weights`` holds of each layer and direction the weights of
    input and state, then their biases, if any.
    """

    x: Tensor
    states: State
    weights: list[list[Tensor]]
    n_directions: int
    batch_first: bool


def read_call(
    x: Tensor,
    states: Any,
    parameters: Any,
    has_biases: Any = None,
    n_layers: int = 1,
    dropout: float = 0.0,
    train: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
) -> Recurrence | None:
    """Return what a call says, None of one with packed sequences or projections.

    The parameters have the order of torch's own functions.
    """
    # Of packed sequences the second argument are sizes, and the rest comes later.
    if not isinstance(has_biases, bool) or (train and dropout):
        return None
    n_directions, size = 1 + bool(bidirectional), 4 if has_biases else 2
    # With projections each has one more.
    if len(parameters) != n_layers * n_directions * size:
        return None
    starts = range(0, len(parameters), size)
    weights = [list(parameters[start : start + size]) for start in starts]
    states = (states,) if isinstance(states, Tensor) else tuple(states)
    return Recurrence(x, states, weights, n_directions, batch_first)


def write_out(
    recurrence: Recurrence,
    run: Callable[[Tensor, State, Sequence[Tensor], bool], tuple[Tensor, State]],
) -> tuple[Tensor, ...]:
    """Run the layers of a call one after the other, and return what torch returns.

    ``run`` takes the input (n_times, n_samples, n_in) of a layer, its states, its
    weights and whether it goes backwards; it returns the outputs and the last states.
    """
    x = recurrence.x.transpose(0, 1) if recurrence.batch_first else recurrence.x
    ends: list[State] = []
    for layer in range(0, len(recurrence.weights), recurrence.n_directions):
        outputs = []
        for way in range(recurrence.n_directions):
            begin = tuple(state[layer + way] for state in recurrence.states)
            output, end = run(x, begin, recurrence.weights[layer + way], way == 1)
            outputs.append(output)
            ends.append(end)
        x = torch.cat(outputs, dim=2) if len(outputs) > 1 else outputs[0]
    last = (torch.stack(states) for states in zip(*ends, strict=True))
    return x.transpose(0, 1) if recurrence.batch_first else x, *last


def steps(
    cell: Cell,
    from_input: Tensor,
    from_state: Tensor,
    weight: Tensor,
    state: State,
    backwards: bool,
) -> Iterator[State]:
    """Yield the states of a layer, step by step.

    The gates get ``from_input`` and ``from_state`` (n_times, n_samples, n_gates), and
    also the product of the ``weight`` (n_gates, n_hidden) and the state.
    """
    if cell.sums_up:
        from_state = from_state + from_input
    weight, times = weight.t(), range(len(from_input))
    given, added = from_input.unbind(), from_state.unbind()
    for t in reversed(times) if backwards else times:
        gates = torch.addmm(added[t], state[0], weight)
        state = cell.step(given[t], gates, state)
        yield state


def _lstm(given: Tensor, gates: Tensor, state: State) -> State:
    _, memory = state
    keep_new, keep_old, new, show = gates.chunk(4, dim=1)
    memory = keep_old.sigmoid() * memory + keep_new.sigmoid() * new.tanh()
    return show.sigmoid() * memory.tanh(), memory


def _gru(given: Tensor, gates: Tensor, state: State) -> State:
    parts = zip(given.chunk(3, dim=1), gates.chunk(3, dim=1), strict=True)
    (reset_in, reset), (keep_in, keep), (new_in, new) = parts
    # The reset gate holds for what comes from the state, its bias included.
    new = (new_in + (reset_in + reset).sigmoid() * new).tanh()
    return (new + (keep_in + keep).sigmoid() * (state[0] - new),)


def _tanh(given: Tensor, gates: Tensor, state: State) -> State:
    return (gates.tanh(),)


def _relu(given: Tensor, gates: Tensor, state: State) -> State:
    return (gates.relu(),)


CELLS: dict[Callable, Cell] = {
    torch.lstm: Cell(_lstm, sums_up=True),
    torch.gru: Cell(_gru, sums_up=False),
    torch.rnn_tanh: Cell(_tanh, sums_up=True),
    torch.rnn_relu: Cell(_relu, sums_up=True),
}
