"""Sums, products and the like of several tensors, with broadcasting."""

import dataclasses

import numpy as np
from keras import layers, ops, tree

from fritz_compress.graph import Tensor
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.rules.rewriting import cut_arguments
from fritz_compress.surgery.rules.table import rule
from fritz_compress.surgery.values import Strand, Value

_COMPARISONS = "Equal Greater GreaterEqual Less LessEqual NotEqual"


@rule(
    layers.Add,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Subtract,
    *"Add Maximum Minimum Subtract CustomScaleLayer".split(),
)
def add(call: Call) -> list[Value]:
    """Zero where every operand is, and no constant takes part."""

    def revived(operands, axis):
        if any(not o.zero and axis not in o.strands for o in operands):
            return call.number
        return np.max(_revived_of(operands, axis), axis=0)

    return [_merged(call, revived)]


@rule(layers.Multiply, "Multiply")
def multiply(call: Call) -> list[Value]:
    """Zero where any operand is."""
    return [_merged(call, lambda o, axis: np.min(_revived_of(o, axis), axis=0))]


@rule("Divide", "TrueDivide")
def divide(call: Call) -> list[Value]:
    """Zero where the numerator is, unless it is divided by a zero."""

    def revived(operands, axis):
        numerator, denominator = operands
        if axis not in numerator.strands or axis in denominator.strands:
            return call.number
        return numerator.strands[axis].revived

    return [_merged(call, revived)]


@rule("Arctan2", "Power", "Where", "Logaddexp", *_COMPARISONS.split())
def combine(call: Call) -> list[Value]:
    """Each channel with the same one of the others; zeros may not stay."""
    return [_merged(call, lambda operands, axis: call.number)]


@dataclasses.dataclass(frozen=True, eq=False)
class _Operand:
    """One operand, its axes counted as those of the result.

    Attributes:
        sizes: By axis; 1 where it is broadcast.
        strands: Labels by axis.
        stays: Why other axes stay; `None` for a constant, which can be cut.
        zero: Whether it is zero all over.
    """

    sizes: dict[int, int | None]
    strands: dict[int, Strand]
    stays: str | None
    zero: bool = False


def _merged(call, revived):
    """Ties equal channels of all operands.

    Args:
        revived: From the operands and an axis to `Strand.revived`.
    """
    rank = len(call.node.outputs[0].shape)
    operands = _operands(call, rank)
    strands = {}
    for axis in sorted({a for o in operands for a in o.strands}):
        labels = _tied(call, operands, axis)
        if labels is not None:
            numbers = np.broadcast_to(revived(operands, axis), len(labels))
            strands[axis] = Strand(labels, numbers)
    _cut_constants(call, operands, strands)
    return Value(strands, call.input().stays)


def _operands(call, rank):
    flat = tree.flatten((call.node.args, call.node.kwargs))
    numeric = [
        value
        for value in flat
        if isinstance(value, Tensor) or _is_number(value)
    ]
    if len(numeric) != len(flat):
        raise Whole("has arguments that are not numbers")
    return [_operand(call, value, rank) for value in flat]


def _is_number(value):
    return not isinstance(value, (str, bytes)) and value is not None


def _operand(call, value, rank):
    if isinstance(value, Tensor):
        shift = rank - len(value.shape)
        known = call.input(value)
        return _Operand(
            {axis + shift: size for axis, size in enumerate(value.shape)},
            {axis + shift: s for axis, s in known.strands.items()},
            known.stays,
        )
    constant = ops.convert_to_numpy(value)
    shift = rank - constant.ndim
    sizes = {axis + shift: size for axis, size in enumerate(constant.shape)}
    return _Operand(sizes, {}, None, not np.any(constant))


def _tied(call, operands, axis):
    """Labels along an axis of the result; `None` if the axis stays."""
    wide = [o for o in operands if o.sizes.get(axis, 1) != 1]
    for operand in operands if wide else ():
        if operand not in wide and axis in operand.strands:
            strand = operand.strands.pop(axis)
            call.freeze(strand.labels, "uses one channel for all")
    strands = [o.strands[axis] for o in wide or operands if axis in o.strands]
    if not strands:
        return None
    labels = strands[0].labels
    for strand in strands[1:]:
        call.tie(labels, strand.labels)
    for operand in wide:
        if axis not in operand.strands and operand.stays is not None:
            call.flow.labels.freeze(labels, operand.stays)
    return labels


def _cut_constants(call, operands, strands):
    wanted = [
        (place, axis - min(operand.sizes), strands[axis].labels)
        for place, operand in enumerate(operands)
        if operand.stays is None
        for axis, size in operand.sizes.items()
        if size > 1 and axis in strands
    ]
    if wanted:
        cut_arguments(call, wanted)


def _revived_of(operands, axis):
    return [o.strands[axis].revived for o in operands if axis in o.strands]
