"""Layers and operations that only move data."""

import numpy as np
from keras import layers, ops

from fritz_compress.graph import Tensor
from fritz_compress.layers import ChannelShuffle, DepthToSpace
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.rules.table import rule
from fritz_compress.surgery.rules.tracing import move
from fritz_compress.surgery.values import Strand, Value


@rule(
    layers.Concatenate,
    layers.Flatten,
    layers.Permute,
    layers.RepeatVector,
    DepthToSpace,
    *"Concatenate DepthToSpace ExpandDims Flip Moveaxis Ravel".split(),
    *"Repeat SpaceToDepth Stack Swapaxes Tile Transpose Unstack".split(),
    *"Hstack Vstack".split(),
)
def moved(call: Call) -> list[Value]:
    return move(call)


@rule(ChannelShuffle)
def shuffle(call: Call) -> list[Value]:
    """All groups lose the same places, and the order of the rest stays."""
    rows = call.channels().reshape(call.operation.groups, -1)
    call.tie(rows, rows[:1])
    return move(call)


@rule("Squeeze")
def squeeze(call: Call) -> list[Value]:
    if call.operation.axis is None:
        raise Whole("drops axes without naming them")
    return move(call)


@rule(layers.Reshape)
def reshape_layer(call: Call) -> list[Value]:
    return _reshaped(call, "target_shape", call.operation.target_shape, 1)


@rule("Reshape")
def reshape(call: Call) -> list[Value]:
    return _reshaped(call, "newshape", call.operation.newshape, 0)


@rule("BroadcastTo")
def broadcast_to(call: Call) -> list[Value]:
    return _resized(call, "shape", call.operation.shape, 0)


@rule("Pad")
def pad(call: Call) -> list[Value]:
    """Constants beside the channels are channels that stay."""
    widths = _pad_widths(call.operation.pad_width, len(call.shape()))
    filled = call.arguments.get("constant_values")
    strands = dict(call.input().strands)
    for axis, strand in call.input().strands.items():
        elsewhere = any(any(w) for a, w in enumerate(widths) if a != axis)
        if filled is not None and elsewhere:
            strand = strands[axis] = strand.revived_by(call.number)
        if not any(widths[axis]):
            continue
        if call.operation.mode != "constant":
            call.freeze(strand.labels, "pads with copies of channels")
            del strands[axis]
            continue
        padding = call.flow.staying("padding")
        strands[axis] = Strand(
            np.pad(strand.labels, widths[axis], constant_values=padding),
            np.pad(strand.revived, widths[axis]),
        )
    return [call.output(strands)]


@rule("Split")
def split(call: Call) -> list[Value]:
    axis = call.operation.axis % len(call.shape())
    strand, passing = call.input().strands.get(axis), call.passing(axis)
    if strand is None:
        return [call.output(passing, i) for i in range(len(call.node.outputs))]
    sizes = [tensor.shape[axis] for tensor in call.node.outputs]
    bounds = np.cumsum(sizes)[:-1]
    call.configure(
        "indices_or_sections",
        strand.labels,
        lambda kept: np.searchsorted(kept, bounds).tolist(),
    )
    parts = zip(
        np.split(strand.labels, bounds), np.split(strand.revived, bounds)
    )
    return [
        call.output({**passing, axis: Strand(*part)}, index)
        for index, part in enumerate(parts)
    ]


@rule("GetItem")
def get_item(call: Call) -> list[Value]:
    """Slices of channels: what is left of each keeps its order."""
    key = _spelled(call.arguments["key"], len(call.shape()))
    strands, cuts, axis, made = {}, [], 0, 0
    for place, item in enumerate(key):
        strand = call.input().strands.get(axis) if item is not None else None
        if strand is not None and isinstance(item, slice):
            chosen = range(*item.indices(len(strand.labels)))
            cuts.append((place, strand.labels, chosen))
            strands[made] = Strand(strand.labels[item], strand.revived[item])
        elif strand is not None:
            call.freeze(strand.labels[item : item + 1 or None], "takes it out")
            cuts.append((place, strand.labels, item % len(strand.labels)))
        axis += item is not None
        made += not isinstance(item, int)
    _rewrite_key(call, key, cuts)
    return [call.output(strands)]


@rule("Slice")
def slice_of_size(call: Call) -> list[Value]:
    """`keras.ops.slice`: from a start on so many, -1 for all that follow."""
    starts, sizes = call.arguments["start_indices"], call.operation.shape
    strands, cuts = {}, []
    for axis, strand in call.input().strands.items():
        if isinstance(starts, Tensor) or isinstance(starts[axis], Tensor):
            raise Whole("starts where a tensor says")
        start, size = int(starts[axis]), int(sizes[axis])
        chosen = slice(start, None if size == -1 else start + size)
        strands[axis] = Strand(strand.labels[chosen], strand.revived[chosen])
        cuts.append((axis, strand.labels[:start]))
        if size != -1:
            call.configure(("shape", axis), strands[axis].labels)

    def rewrite(keep):
        def run(operation, inputs, starts):
            starts = list(starts)
            for axis, before in cuts:
                starts[axis] = len(keep(before))
            return operation(inputs, tuple(starts))

        return run

    call.rewrite(rewrite, [before for _, before in cuts])
    return [call.output(strands)]


@rule("Take")
def take(call: Call) -> list[Value]:
    axis = call.operation.axis
    if axis is None or axis % len(call.shape()) in call.input().strands:
        raise Whole("picks channels by an array")
    if len(call.node.inputs) > 1 or np.ndim(call.arguments["indices"]) != 1:
        raise Whole("picks by a tensor")
    return [call.output(call.input().strands)]


def _reshaped(call, key, target, offset):
    if None in call.shape()[1:] and -1 not in target:
        raise Whole("reshapes a tensor of unknown size")
    return _resized(call, key, tuple(target), offset)


def _resized(call, key, target, offset):
    """Moves, and has the sizes in the configuration follow."""
    (value,) = move(call)
    if None in call.shape():
        # What the sizes that are not known may be, must not matter.
        (other,) = move(call, size=3, batch=2)
        if not _alike(call, value, other):
            raise Whole("reshapes a tensor of unknown size")
    for axis, strand in value.strands.items():
        if target[axis - offset] != -1:
            call.configure((key, axis - offset), strand.labels)
    return [value]


def _alike(call, value, other):
    roots = call.flow.labels.roots
    return value.strands.keys() == other.strands.keys() and all(
        np.array_equal(roots(strand.labels), roots(other.strands[a].labels))
        for a, strand in value.strands.items()
    )


def _pad_widths(widths, rank):
    widths = np.asarray(widths)
    return [tuple(w) for w in np.broadcast_to(widths, (rank, 2)).tolist()]


def _spelled(key, rank):
    """A key with one item per axis, `None` for axes that are new."""
    key = list(key) if isinstance(key, (tuple, list)) else [key]
    if any(not isinstance(x, (int, slice, type(None), type(...))) for x in key):
        raise Whole("picks by an array")
    missing = rank - sum(item not in (None, ...) for item in key)
    if ... not in key:
        key.append(...)
    place = key.index(...)
    return key[:place] + [slice(None)] * missing + key[place + 1 :]


def _rewrite_key(call, key, cuts):
    """Has the key point at the channels that are left."""

    def rewrite(keep):
        def run(operation, inputs, _):
            new, picks = list(key), []
            for place, labels, chosen in cuts:
                kept = keep(labels)
                left = np.flatnonzero(np.isin(kept, chosen))
                if isinstance(chosen, int):
                    new[place] = int(left[0])
                    continue
                if isinstance(chosen, range) and chosen.step < 0:
                    left = left[::-1]
                new[place] = _as_slice(left)
                if new[place] is None:
                    new[place] = slice(None)
                    picks.append((place, left))
            outputs = operation(inputs, tuple(new))
            for place, left in picks:
                axis = sum(not isinstance(x, int) for x in new[:place])
                outputs = ops.take(outputs, left.tolist(), axis)
            return outputs

        return run

    call.rewrite(rewrite, [labels for _, labels, _ in cuts])


def _as_slice(places):
    """Places as a slice, `None` if their distances differ."""
    steps = set(np.diff(places).tolist())
    if len(steps) > 1:
        return None
    step = steps.pop() if steps else 1
    stop = int(places[-1]) + step
    return slice(int(places[0]), stop if stop >= 0 else None, step)
