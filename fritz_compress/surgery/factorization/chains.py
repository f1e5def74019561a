"""Layers that compute one after the other what one layer did.

Each function here takes a layer, a rank, whether there is to be a bias, and
what makes names. It returns layers that are not built, with the factors of the
decomposition as kernels: the first ones without bias and activation, the last
one with those of the layer, and with its name, by which outputs are known.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from fritz_compress.layers import ToeplitzLikeDense
from fritz_compress.ops.decomposition import Rank
from fritz_compress.surgery.nameless import without_a_name

Layers = list[keras.Layer]
Chain = Callable[[keras.Layer, Rank, bool, Callable[[str], str]], Layers]

DEPTHWISE = {
    layers.Conv1D: layers.DepthwiseConv1D,
    layers.Conv2D: layers.DepthwiseConv2D,
}


def dense(layer, rank, use_bias, name) -> Layers:
    reduce = layers.Dense(
        *rank, **_kernel(layer), **_plain(layer, name, "reduce")
    )
    return [reduce, _last(layer, use_bias)]


def toeplitz(layer, rank, use_bias, name) -> Layers:
    activation = layer.activation
    if isinstance(activation, keras.Layer):
        activation = type(activation).from_config(activation.get_config())
    return [
        ToeplitzLikeDense(
            layer.units,
            *rank,
            activation,
            use_bias,
            generator_regularizer=layer.kernel_regularizer,
            bias_initializer=layer.bias_initializer,
            bias_regularizer=layer.bias_regularizer,
            activity_regularizer=layer.activity_regularizer,
            dtype=layer.dtype_policy,
            trainable=layer.trainable,
            name=layer.name,
        )
    ]


def channel(layer, rank, use_bias, name) -> Layers:
    reduce = _convolution(layer, *rank, name, "reduce", **_window(layer))
    return [reduce, _pointwise(layer, use_bias)]


def spatial(layer, rank, use_bias, name) -> Layers:
    column, row = (_window(layer, axis) for axis in range(2))
    vertical = _convolution(layer, *rank, name, "vertical", **column)
    return [vertical, _last(layer, use_bias, **row)]


def tucker(layer, rank, use_bias, name) -> Layers:
    inputs, outputs = rank
    return [
        _convolution(layer, inputs, name, "reduce", kernel_size=1),
        _convolution(layer, outputs, name, "core", **_window(layer)),
        _pointwise(layer, use_bias),
    ]


def cp(layer, rank, use_bias, name) -> Layers:
    column, row = (_window(layer, axis) for axis in range(2))
    return [
        _convolution(layer, *rank, name, "reduce", kernel_size=1),
        _depthwise(layer, 1, name, "vertical", **column),
        _depthwise(layer, 1, name, "horizontal", **row),
        _pointwise(layer, use_bias),
    ]


def separable(layer, rank, use_bias, name) -> Layers:
    depthwise = _depthwise(layer, *rank, name, "depthwise", **_window(layer))
    return [depthwise, _pointwise(layer, use_bias)]


def assign(
    chain: Sequence[keras.Layer],
    factors: Sequence[np.ndarray],
    bias: np.ndarray | None,
) -> None:
    """Gives built layers the factors, and the last one the bias."""
    for kernel, factor in zip(_kernels(chain), factors, strict=True):
        kernel.assign(factor.reshape(kernel.shape))
    if bias is not None:
        chain[-1].bias.assign(bias)


def positions(
    chain: Sequence[keras.Layer], shape: Sequence[int | None]
) -> list[int] | None:
    """How often each layer applies its kernel to a sample.

    Args:
        chain: Layers.
        shape: Shape of the input of the first, with a batch.

    Returns: `None` if a size is not known.
    """
    counts = []
    for layer in chain:
        shape = layer.compute_output_shape(tuple(shape))
        sides = list(shape[1:])
        del sides[_channel_axis(layer)]
        if None in sides:
            return None
        counts.append(int(np.prod(sides, dtype="int64")))
    return counts


def _kernels(chain: Sequence[keras.Layer]) -> Iterator[keras.Variable]:
    for layer in chain:
        if isinstance(layer, ToeplitzLikeDense):
            yield layer.right
            yield layer.left
        else:
            yield layer.kernel


def _channel_axis(layer):
    first = getattr(layer, "data_format", None) == "channels_first"
    return 0 if first else -1


def _last(layer, use_bias, **changes) -> keras.Layer:
    """The layer with another kernel."""
    config = layer.get_config()
    return type(layer).from_config(
        {
            **config,
            **without_a_name(layer, config),
            "kernel_constraint": None,
            "use_bias": use_bias,
            **changes,
        }
    )


def _pointwise(layer, use_bias):
    one = (1,) * layer.rank
    return _last(
        layer,
        use_bias,
        kernel_size=one,
        strides=one,
        dilation_rate=one,
        padding="valid",
    )


def _convolution(layer, filters, name, part, **window):
    return type(layer)(
        filters,
        data_format=layer.data_format,
        **window,
        **_kernel(layer),
        **_plain(layer, name, part),
    )


def _depthwise(layer, multiplier, name, part, **window):
    return DEPTHWISE[type(layer)](
        depth_multiplier=multiplier,
        data_format=layer.data_format,
        depthwise_initializer=layer.kernel_initializer,
        depthwise_regularizer=layer.kernel_regularizer,
        **window,
        **_plain(layer, name, part),
    )


def _window(layer, only: int | None = None) -> dict[str, Any]:
    """How a convolution moves, or how it does along one axis."""
    names = ("kernel_size", "strides", "dilation_rate")
    window = {name: getattr(layer, name) for name in names}
    if only is not None:
        window = {
            name: tuple(
                side if axis == only else 1 for axis, side in enumerate(sides)
            )
            for name, sides in window.items()
        }
    return {**window, "padding": layer.padding}


def _kernel(layer):
    return {
        "kernel_initializer": layer.kernel_initializer,
        "kernel_regularizer": layer.kernel_regularizer,
    }


def _plain(layer, name, part):
    """What all but the last layer are."""
    return {
        "use_bias": False,
        "dtype": layer.dtype_policy,
        "trainable": layer.trainable,
        "name": name(f"{layer.name}_{part}"),
    }
