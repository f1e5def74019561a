"""Which positions of its inputs a layer mixes, by class: for the oracle.

A layer that is not listed works position by position, or only moves data, as
far as the oracle is concerned. If it does not, noise spreads, and the oracle
says that removed channels leak.
"""

import contextlib

import hub_blocks
import keras
import numpy as np
from keras import layers

from fritz_compress.graph import Node, Tensor, flatten_layers

# Number of spatial axes.
CONVOLUTIONS = {
    layers.Conv1D: 1,
    layers.Conv2D: 2,
    layers.Conv3D: 3,
    layers.Conv1DTranspose: 1,
    layers.Conv2DTranspose: 2,
    layers.Conv3DTranspose: 3,
    layers.SeparableConv1D: 1,
    layers.SeparableConv2D: 2,
    layers.ConvLSTM1D: 1,
    layers.ConvLSTM2D: 2,
    layers.ConvLSTM3D: 3,
}
RECURRENT = (
    layers.SimpleRNN,
    layers.LSTM,
    layers.GRU,
    layers.ConvLSTM1D,
    layers.ConvLSTM2D,
    layers.ConvLSTM3D,
)
HEADED = (layers.MultiHeadAttention, layers.GroupQueryAttention)
ATTENTION = (layers.Attention, layers.AdditiveAttention)


def unread(node: Node, index: int, noise: np.ndarray) -> np.ndarray | None:
    """Where a call must not read its input, so that noise stays apart.

    Args:
        node: The call.
        index: Which of the call's tensors.
        noise: Where noise is in it, of shape (1, ...).

    Returns: booleans like `noise`, `None` if the call does not mix.
    """
    kind = type(innermost(node.operation))
    rule = _RULES.get(kind) or _RULES.get(kind.__name__)
    return rule and rule(node, index, noise)


def innermost(operation):
    """The layer inside wrappers such as TimeDistributed."""
    if isinstance(operation, layers.Bidirectional):
        return operation.forward_layer
    while isinstance(operation, layers.Wrapper):
        operation = operation.layer
    return operation


def removed_positions(
    operation, part: str, indices: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Where removed channels lie in an output of this shape.

    Args:
        part: Which channels, for a layer that has several kinds.
        indices: Their numbers. A Bidirectional counts those of one direction.

    Returns: booleans that broadcast to the shape; no place is true for what
        a layer only has inside, such as attention heads.
    """
    layer = innermost(operation)
    if isinstance(layer, layers.EinsumDense):
        axes = _made_axes(layer, part, len(shape))
    elif isinstance(layer, HEADED):
        # Attention scores have an axis of heads, beside the output.
        axes = {("", 3): [2], ("heads", 4): [1]}.get((part, len(shape)), [])
    elif part and hub_blocks.is_block(layer):
        axes = []
    else:
        axes = [len(shape) + _channel_axis(layer)]
    sizes = [n if a in axes else 1 for a, n in enumerate(shape)]
    flat = np.zeros(int(np.prod(sizes)), bool)
    if axes:
        flat[indices] = True
    if isinstance(operation, layers.Bidirectional):
        units = operation.forward_layer.units
        flat[units:] = flat[: len(flat) - units]
    return flat.reshape(sizes)


def _made_axes(layer, part, rank):
    read, _, made = _letters(layer.equation)
    return [
        axis
        for axis, letter in _counted(made, rank)
        if letter not in read + "." and letter in (part or letter)
    ]


@contextlib.contextmanager
def deaf_inside(operation, part: str, indices: np.ndarray):
    """Zeroes, for a while, what a layer itself reads of its channels.

    A recurrent layer reads its units again, an attention layer its heads.
    """
    cuts = [
        (weight, keras.ops.convert_to_numpy(weight).copy(), axis, rows)
        for weight, axis, rows in _read_inside(operation, part, indices)
    ]
    for weight, values, axis, rows in cuts:
        silent = values.copy()
        np.moveaxis(silent, axis, 0)[rows] = 0
        weight.assign(silent)
    try:
        yield
    finally:
        for weight, values, *_ in reversed(cuts):
            weight.assign(values)


def _read_inside(operation, part, indices):
    """Weights, each with an axis and the rows along it, to silence."""
    directions = [operation]
    if isinstance(operation, layers.Bidirectional):
        directions = [operation.forward_layer, operation.backward_layer]
    for layer in directions:
        if isinstance(layer, RECURRENT):
            yield layer.cell.recurrent_kernel, -2, indices
    layer = innermost(operation)
    if hub_blocks.is_block(layer) and part:
        for weight in hub_blocks.reading(layer, part):
            yield weight, -2, indices
    if not isinstance(layer, HEADED) or not part:
        return
    inner = {sub.name: sub for sub in flatten_layers(layer)}
    output = inner["attention_output"].kernel
    if part == "heads":
        repeats = getattr(layer, "num_repeats", 1)
        shared = indices[:, None] * repeats + np.arange(repeats)
        yield output, 0, shared.ravel()
    if part in ("value_dim", "head_dim"):
        yield output, 1, indices
    if part in ("key_dim", "head_dim"):
        for weight in inner["query"].weights:
            yield weight, -1, indices


def _outside(noise, summed, apart=()):
    """What sums have to leave out.

    Args:
        summed: Axes that are summed over.
        apart: Axes along which sums are of other terms.

    Where all terms of a sum are noise, so is the sum: they stay.
    """
    lost = noise.all(axis=summed, keepdims=True)
    rows = tuple(set(range(noise.ndim)) - {*summed, *apart})
    found = (noise & ~lost).any(axis=rows, keepdims=True)
    return np.broadcast_to(found, noise.shape)


def _channel_axis(layer):
    if getattr(layer, "data_format", None) == "channels_first":
        return -1 - CONVOLUTIONS[type(layer)]
    return -1


def _of_convolution(node, index, noise):
    layer = innermost(node.operation)
    axis = _channel_axis(layer)
    last = np.moveaxis(noise, axis, -1)
    groups = last.reshape(*last.shape[:-1], getattr(layer, "groups", 1), -1)
    rank = groups.ndim
    found = _outside(groups, summed=(rank - 1,), apart=(rank - 2,))
    return np.moveaxis(found.reshape(last.shape), -1, axis)


def _of_recurrent(node, index, noise):
    if index:
        return None  # States stay unit by unit.
    if type(innermost(node.operation)) in CONVOLUTIONS:
        return _of_convolution(node, index, noise)
    return _of_last_axis(node, index, noise)


def _of_last_axis(node, index, noise):
    return _outside(noise, summed=(noise.ndim - 1,))


def _of_attention(node, index, noise):
    # Queries and keys are multiplied; values keep their channels.
    values = 1 if isinstance(node.operation, ATTENTION) else 2
    return None if index == values else _of_last_axis(node, index, noise)


def _of_dot(node, index, noise):
    axes = node.operation.axes
    axis = axes if isinstance(axes, int) else axes[index]
    return _outside(noise, summed=(axis % noise.ndim,))


def _of_sum(node, index, noise):
    axes, rank = node.operation.axis, noise.ndim
    axes = (axes,) if isinstance(axes, int) else axes or range(rank)
    summed = tuple(axis % rank for axis in axes)
    return _outside(noise, summed, set(range(rank)) - {*summed})


def _of_matmul(node, index, noise):
    tensors = [i for i, v in enumerate(node.args) if isinstance(v, Tensor)]
    summed = noise.ndim - 1 - tensors[index]
    apart = range(noise.ndim - 2) if len(tensors) > 1 else ()
    return _outside(noise, (summed,), tuple(apart))


def _of_einsum_dense(node, index, noise):
    read, kernel, made = _letters(innermost(node.operation).equation)
    return _of_letters(noise, read, kernel, made)


def _of_einsum(node, index, noise):
    *operands, made = _letters(node.operation.subscripts)
    others = "".join(operands[:index] + operands[index + 1 :])
    return _of_letters(noise, operands[index], others, made)


def _letters(equation):
    operands, made = equation.replace(" ", "").split("->")
    return *operands.split(","), made


def _spelled(letters, rank):
    """A dot for every axis that an ellipsis stands for."""
    return letters.replace("...", "." * (rank + 3 - len(letters)))


def _counted(letters, rank):
    """Letters with their axes, of which TimeDistributed adds one in front."""
    spelled = _spelled(letters, rank)
    return list(enumerate(spelled, rank - len(spelled)))


def _of_letters(noise, read, others, made):
    axes = _counted(read, noise.ndim)
    summed = tuple(i for i, letter in axes if letter not in made)
    apart = tuple(
        i for i, letter in axes if letter in others and letter in made
    )
    # The first axis is that of samples, which noise has one of.
    return _outside(noise, summed, apart) if summed else None


_RULES = {
    **dict.fromkeys(CONVOLUTIONS, _of_convolution),
    **dict.fromkeys(RECURRENT, _of_recurrent),
    **dict.fromkeys(ATTENTION, _of_attention),
    layers.Dense: _of_last_axis,
    **dict.fromkeys(HEADED, _of_last_axis),
    layers.Dot: _of_dot,
    layers.EinsumDense: _of_einsum_dense,
    "DotProductAttention": _of_attention,
    "Einsum": _of_einsum,
    "Matmul": _of_matmul,
    "Sum": _of_sum,
}
