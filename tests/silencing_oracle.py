"""What a model must compute once channels are removed, found with noise.

`silenced_outputs` runs a model call by call, next to a few noisy copies of
itself. Layers that make channels get large noise on those that are removed,
in the copies only. Where a layer mixes channels, what differs between the
copies is what the removed channels feed: it is set to zero, as if the layer
were deaf to it, and copies and original go on alike. Everything else is just
run, so that noise spreads as data does. Nothing here knows of labels, groups
or rules.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import masked_normalization
import mixing_layers
import numpy as np
from keras import layers, tree

from fritz_compress.graph import Node, trace
from fritz_compress.surgery.names import name_layers

# Pairs of opposite noise: what dies in an activation lives in its twin. The
# second pair is large, to be seen behind means and saturated gates.
STRENGTHS = (1.0, -1.0, 8.0, -8.0)
# Noise this much smaller than before is an error of rounding.
CANCELLED = 1e-5
_SUMS = ("Add", "Subtract", "Average", "Mean")


@dataclasses.dataclass(frozen=True)
class Streams:
    """One tensor of the model and of its noisy copies.

    Attributes:
        clean: The value without noise.
        noisy: The values of the copies; empty if none differs.
    """

    clean: Any
    noisy: tuple = ()

    def differing(self) -> np.ndarray:
        """Where any copy differs for any sample, of shape (1, ...)."""
        clean = keras.ops.convert_to_numpy(self.clean)
        found = np.zeros((1, *clean.shape[1:]), bool)
        for value in self.noisy:
            differs = keras.ops.convert_to_numpy(value) != clean
            found |= differs.any(axis=0, keepdims=True)
        return found

    def zeroed(self, where: np.ndarray) -> "Streams":
        """Zero at these positions, in the copies as well."""

        def zero(value):
            return keras.ops.where(where, keras.ops.zeros_like(value), value)

        silent = Streams(zero(self.clean), tuple(map(zero, self.noisy)))
        return silent if silent.differing().any() else Streams(silent.clean)


class NoiseVanishes(Exception):
    """The oracle lost sight of removed channels, and cannot say."""


class RemovedChannelsLeak(AssertionError):
    """Removed channels change what the rest of the model computes."""


def silenced_outputs(
    model: keras.Model,
    removed: Mapping[str, Sequence[int]],
    inputs: Sequence[Any],
    seed: int = 0,
    masked_statistics: bool = False,
) -> list[np.ndarray]:
    """Outputs of a model whose layers are deaf to removed channels.

    Args:
        model: A Functional or built Sequential model.
        removed: For every layer that makes removed channels, by its name in
            `name_layers`, their indices along its channel axis; parts of it
            such as `"attention:heads"` on their own, as in a group's
            `producers`. Layers tied to them need not be named, as sums carry
            the noise.
        inputs: One array per input of the model, of two samples or more.
        seed: Of the noise.
        masked_statistics: Whether layer, group and RMS normalization may
            meet removed channels, and leave them out of their statistics.
            Otherwise such channels leak. (Unit normalization, a sum of
            squares, always leaves them out.)

    Raises:
        RemovedChannelsLeak: if a removed channel reaches an output.
    """
    graph = trace(model)
    names = name_layers(model)
    rng = np.random.default_rng(seed)

    def call(node, *args, **kwargs):
        gone = _parts(removed, names.get(node.operation))
        if _normalizes_noise(node, args, masked_statistics):
            return _normalize(node.operation, args[0])
        with contextlib.ExitStack() as stack:
            for part in gone.items():
                silence = mixing_layers.deaf_inside(node.operation, *part)
                stack.enter_context(silence)
            results = _run(node, *_silence(node, args, kwargs))
        _check_noise_is_left(node, args, results)
        if _pads(node.operation):
            where = _noise_in_padding(node.operation, args[0], *results)
            results = [_add_noise(*results, where, rng)]
        for part in gone.items():
            results = [_make_noise(node, v, *part, rng) for v in results]
        return results

    values = [
        Streams(keras.ops.convert_to_tensor(value, tensor.dtype))
        for value, tensor in zip(inputs, graph.inputs, strict=True)
    ]
    outputs = tree.flatten(graph.run(values, call))
    leaks = [i for i, value in enumerate(outputs) if value.differing().any()]
    if leaks:
        raise RemovedChannelsLeak(
            f"Noise in removed channels reaches outputs {leaks} of model "
            f"'{model.name}'."
        )
    return [keras.ops.convert_to_numpy(value.clean) for value in outputs]


def removed_channels(
    groups: Iterable, chosen: Mapping[int, Sequence[int]]
) -> dict[str, list[int]]:
    """All output channels, by layer, that belong to chosen channels.

    Args:
        groups: The groups of a model, as `channel_groups` returns them.
        chosen: For groups, by their place, the numbers of their channels.
    """
    found: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        for name, numbers in group.producers.items():
            own = np.isin(numbers, np.asarray(chosen.get(place, ()), int))
            found.setdefault(name, []).extend(np.flatnonzero(own).tolist())
    return {name: indices for name, indices in found.items() if indices}


def _parts(removed, name):
    """Removed channels of a layer, by the part of it that has them."""
    return {
        key.partition(":")[2]: np.asarray(indices, int)
        for key, indices in removed.items()
        if key.partition(":")[0] == name and len(indices)
    }


def _silence(node: Node, args, kwargs):
    """The arguments with zeros where the call would mix noise with others."""
    if isinstance(node.operation, mixing_layers.ATTENTION):
        # Keys that are values as well are silenced only as keys.
        query, value, *key = args[0]
        args = ([query, value, *(key or [value])], *args[1:])

    flat = tree.flatten((args, kwargs))
    tensors = [i for i, v in enumerate(flat) if isinstance(v, Streams)]
    for index, place in enumerate(tensors):
        value = flat[place]
        if value.noisy:
            where = mixing_layers.unread(node, index, value.differing())
            flat[place] = value if where is None else value.zeroed(where)
    return tree.pack_sequence_as((args, kwargs), flat)


def _run(node: Node, args, kwargs) -> list[Streams]:
    """All output tensors of one call."""
    operation = node.operation
    if isinstance(operation, keras.Layer):
        # Layers inside of one may take it, though it does not.
        kwargs = {**kwargs, "training": False}

    def compute(pick):
        own_args, own_kwargs = tree.map_structure(
            lambda v: pick(v) if isinstance(v, Streams) else v, (args, kwargs)
        )
        return tree.flatten(operation(*own_args, **own_kwargs))

    clean = compute(lambda value: value.clean)
    if not any(value.noisy for value in _streams(args, kwargs)):
        return [Streams(value) for value in clean]
    copies = [
        compute(lambda v: v.noisy[copy] if v.noisy else v.clean)
        for copy in range(len(STRENGTHS))
    ]
    return [Streams(*pair) for pair in zip(clean, zip(*copies))]


def _streams(*structures) -> list[Streams]:
    return [v for v in tree.flatten(structures) if isinstance(v, Streams)]


def _check_noise_is_left(node, args, results):
    """Sums and means may cancel noise: x + (1 - x), the mean of a softmax.

    All that is left then are errors of rounding, or nothing, and who reads
    them is not seen.
    """
    kind = type(node.operation).__name__
    inputs = [v for v in _streams(args) if v.noisy]
    if kind == "Softmax":
        if inputs and not results[0].differing().any():
            raise NoiseVanishes(
                f"'{node.operation.name}' makes noise constant."
            )
    if not kind.removeprefix("Global").startswith(_SUMS):
        return
    left = _strength(results[0])
    for strength in map(_strength, inputs):
        if len(strength) != len(left):
            continue
        if (left < CANCELLED * strength).any():
            raise NoiseVanishes(f"'{node.operation.name}' cancels noise.")


def _strength(value: Streams) -> np.ndarray:
    """The largest noise of any copy, for each index of the last axis."""
    clean = keras.ops.convert_to_numpy(value.clean).astype("float64")
    return np.max(
        [
            np.abs(keras.ops.convert_to_numpy(noisy) - clean)
            .reshape(-1, clean.shape[-1])
            .max(axis=0)
            for noisy in value.noisy or [value.clean]
        ],
        axis=0,
    )


def _pads(operation):
    return type(operation).__name__ == "Pad" or isinstance(
        operation,
        layers.ZeroPadding1D | layers.ZeroPadding2D | layers.ZeroPadding3D,
    )


def _noise_in_padding(operation, value: Streams, result: Streams):
    """Where constants are put into channels of nothing but noise.

    They go with their channel, though no copy differs there. Axis by axis: a
    line of the result that is noise wherever it is no constant.
    """
    one, two = (
        keras.ops.convert_to_numpy(
            operation(keras.ops.full_like(value.clean[:1], number))
        )
        for number in (1, 2)
    )
    constant, noise = one == two, result.differing()
    found = np.zeros_like(noise)
    for axis in range(1, noise.ndim):
        known = ~constant.all(axis, keepdims=True)
        line = (noise | constant).all(axis, keepdims=True) & known
        new = line & noise.any(axis, keepdims=True) & constant
        found, noise = found | new, noise | new
        constant = constant & ~known
    return found


def _make_noise(node, value: Streams, part, channels, rng) -> Streams:
    """Other noise in every copy, at these channels of every position."""
    where = mixing_layers.removed_positions(
        node.operation, part, channels, tuple(value.clean.shape)
    )
    return _add_noise(value, where, rng)


def _add_noise(value: Streams, where, rng) -> Streams:
    """Other noise in every copy."""
    if not where.any():
        return value
    clean = keras.ops.convert_to_numpy(value.clean)
    scale = where * (1 + np.abs(clean.astype("float64")).max())
    # Never small. Of one sign in one pair, to be seen behind a minimum and a
    # maximum of two layers' noise; of both in the other.
    twins = [
        scale * rng.uniform(1, 3, clean.shape) * rng.choice(signs, clean.shape)
        for signs in ([1], [-1, 1])
    ]
    before = value.noisy or (value.clean,) * len(STRENGTHS)
    return Streams(
        value.clean,
        tuple(
            noisy + keras.ops.cast(strength * twins[copy // 2], clean.dtype)
            for copy, (noisy, strength) in enumerate(zip(before, STRENGTHS))
        ),
    )


def _normalizes_noise(node, args, masked):
    """Whether the layer takes statistics over noise and other channels."""
    kinds = masked_normalization.KINDS if masked else layers.UnitNormalization
    if not isinstance(node.operation, kinds) or not args[0].noisy:
        return False
    noise = args[0].differing()
    axes = masked_normalization.summed_axes(node.operation, noise.ndim)
    return (noise.any(axis=axes) & ~noise.all(axis=axes)).any()


def _normalize(layer, value: Streams) -> list[Streams]:
    """By hand, from the channels without noise, which keeps its places."""
    clean = keras.ops.convert_to_numpy(value.clean)
    result = masked_normalization.normalized(layer, clean, value.differing())
    result = keras.ops.convert_to_tensor(result.astype(clean.dtype))
    return [
        Streams(
            result,
            tuple(result + (noisy - value.clean) for noisy in value.noisy),
        )
    ]
