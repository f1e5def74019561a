"""Convolutions and dense layers with kernels and inputs of few bits."""

import math
from typing import Any

import keras
from keras import ops

from fritz_compress.layers.binary_kernel import BinaryKernel
from fritz_compress.ops.binarization import magnitude

_SIGN = "ste_sign"
_SCALED = "magnitude_aware_sign"


@keras.saving.register_keras_serializable("fritz_compress")
class BinaryConv2D(BinaryKernel, keras.layers.Conv2D):
    """Convolution of signs with signs, or of other few levels.

        outputs = conv(input_quantizer(inputs), levels) * scale + bias

    where `levels` and `scale` are what `kernel_quantizer` makes of the latent
    kernel. With the names of the field: BinaryConnect has the kernel
    quantizer "ste_sign" or "stochastic_sign", BWN "magnitude_aware_sign", both
    no input quantizer; BinaryNet has "ste_sign" for both.

    Normalize before a sign: `normalization, BinaryConv2D`, so that signs
    carry information. While it trains the layer is as large as any, and
    nothing is faster; `binarization.convert_to_binary` makes the kernel 1 and
    -1 for good, files store it in a bit per number, and
    `binarization.PackedModel` computes with 64 of them at once.

    Args:
        filters, kernel_size, strides, padding: As of `keras.layers.Conv2D`.
        kernel_quantizer: A name, a `quantizers.BitQuantizer`, or `None` for
            a kernel of floats. Defaults to "ste_sign".
        input_quantizer: Likewise, of the inputs. Defaults to "ste_sign".
        kernel_clip: Largest magnitude of a latent weight, after each step of
            training; `None` for any. By default "auto", the `clip_value` of
            the quantizer, further out than which there is no gradient to
            return by, or 1; and none for a kernel of floats, or one that has
            a `kernel_constraint`.
        pad_values: What padding "same" puts around the quantized inputs.
            With the default 0 borders are no signs; -1 or 1 are.
        use_scale: Whether each filter is multiplied by a weight,
            `kernel_scale`, initially 1. Defaults to `False`.
        **kwargs: All else as of `keras.layers.Conv2D`.

    Raises:
        TypeError, ValueError: for a quantizer that there is not, or one of
            ranges; a `kernel_clip` that is not above 0 or comes with a
            `kernel_constraint`; and as `keras.layers.Conv2D`.

    References: Courbariaux et al., "BinaryConnect",
    https://arxiv.org/abs/1511.00363; Hubara et al., "Binarized Neural
    Networks", https://arxiv.org/abs/1602.02830; Rastegari et al., "XNOR-Net",
    https://arxiv.org/abs/1603.05279, section 3.1.

    Example:

    >>> x = keras.layers.BatchNormalization()(x)
    >>> x = BinaryConv2D(64, 3, padding="same", use_bias=False)(x)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = (1, 1),
        padding: str = "valid",
        *,
        kernel_quantizer: Any = _SIGN,
        input_quantizer: Any = _SIGN,
        kernel_clip: float | str | None = "auto",
        pad_values: float = 0.0,
        use_scale: bool = False,
        **kwargs,
    ):
        arguments = {
            "filters": filters,
            "kernel_size": kernel_size,
            "strides": strides,
            "padding": padding,
            **kwargs,
        }
        self._init_binary(
            kernel_quantizer,
            input_quantizer,
            kernel_clip,
            pad_values,
            use_scale,
            arguments,
        )

    def call(self, inputs, training=None):
        return self._computed(inputs, self.convolution_op, training)

    @property
    def pads(self):
        return bool(self.pad_values) and self.padding == "same"

    def _filters(self):
        return self.filters


@keras.saving.register_keras_serializable("fritz_compress")
class BinaryDepthwiseConv2D(BinaryKernel, keras.layers.DepthwiseConv2D):
    """Depthwise convolution of signs with signs, or of other few levels.

    A filter is what makes one output channel: `scale` has as many numbers as
    there are output channels. All else as `BinaryConv2D`.

    Args:
        kernel_size, strides, padding, depth_multiplier: As of
            `keras.layers.DepthwiseConv2D`.
        kernel_quantizer, input_quantizer, kernel_clip, pad_values, use_scale:
            As of `BinaryConv2D`.
        **kwargs: All else as of `keras.layers.DepthwiseConv2D`.

    Raises:
        TypeError, ValueError: as `BinaryConv2D`.
    """

    kernel_axes = (0, 1)
    constraint_argument = "depthwise_constraint"

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = (1, 1),
        padding: str = "valid",
        depth_multiplier: int = 1,
        *,
        kernel_quantizer: Any = _SIGN,
        input_quantizer: Any = _SIGN,
        kernel_clip: float | str | None = "auto",
        pad_values: float = 0.0,
        use_scale: bool = False,
        **kwargs,
    ):
        arguments = {
            "kernel_size": kernel_size,
            "strides": strides,
            "padding": padding,
            "depth_multiplier": depth_multiplier,
            **kwargs,
        }
        self._init_binary(
            kernel_quantizer,
            input_quantizer,
            kernel_clip,
            pad_values,
            use_scale,
            arguments,
        )

    def call(self, inputs, training=None):
        return self._computed(inputs, self._convolved, training)

    def _convolved(self, inputs, kernel):
        return ops.depthwise_conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )

    @property
    def pads(self):
        return bool(self.pad_values) and self.padding == "same"

    def _filters(self):
        return math.prod(self.kernel.shape[-2:])


@keras.saving.register_keras_serializable("fritz_compress")
class BinaryDense(BinaryKernel, keras.layers.Dense):
    """Dense layer of signs with signs, or of other few levels.

    Args:
        units: As of `keras.layers.Dense`.
        kernel_quantizer, input_quantizer, kernel_clip, use_scale: As of
            `BinaryConv2D`. There is no padding.
        **kwargs: All else as of `keras.layers.Dense`.

    Raises:
        TypeError, ValueError: as `BinaryConv2D`.
    """

    kernel_axes = (0,)

    def __init__(
        self,
        units: int,
        *,
        kernel_quantizer: Any = _SIGN,
        input_quantizer: Any = _SIGN,
        kernel_clip: float | str | None = "auto",
        use_scale: bool = False,
        **kwargs,
    ):
        self._init_binary(
            kernel_quantizer,
            input_quantizer,
            kernel_clip,
            0.0,
            use_scale,
            {"units": units, **kwargs},
        )

    def call(self, inputs, training=None):
        return self._computed(inputs, ops.matmul, training)

    def _filters(self):
        return self.units

    def get_config(self):
        config = super().get_config()
        del config["pad_values"]
        return config


@keras.saving.register_keras_serializable("fritz_compress")
class XnorConv2D(BinaryConv2D):
    """Convolution of signs with signs, scaled by kernel and inputs: XNOR-Net.

        outputs = conv(sign(inputs), sign(kernel)) * K * alpha + bias

    with `alpha` the mean magnitude of each filter, and `K` at each position
    the mean magnitude of the inputs that the filter sees there, zeros of the
    padding included. Gradients flow neither through `alpha` nor through `K`:
    the paper does not say, and it made steps slower without gain.

    Try `BinaryConv2D` with the same kernel quantizer first. It has no `K`, nor
    has the code of the paper's authors, and learned more on Fashion-MNIST
    (`tests/benchmarks/binary_networks.csv`).

    Args:
        filters, kernel_size, strides, padding: As of `keras.layers.Conv2D`.
        kernel_quantizer: As of `BinaryConv2D`, by default
            "magnitude_aware_sign".
        **kwargs: All else as of `BinaryConv2D`; groups of channels are not
            possible.

    Raises:
        TypeError, ValueError: as `BinaryConv2D`, and for groups.

    Reference: Rastegari et al., "XNOR-Net", https://arxiv.org/abs/1603.05279,
    section 3.2, equation 11.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = (1, 1),
        padding: str = "valid",
        *,
        kernel_quantizer: Any = _SCALED,
        **kwargs,
    ):
        super().__init__(
            filters,
            kernel_size,
            strides,
            padding,
            kernel_quantizer=kernel_quantizer,
            **kwargs,
        )
        if self.groups > 1:
            raise ValueError(
                f"Layer '{self.name}' scales by the mean of all channels, so "
                f"they cannot be in groups. Received: groups={self.groups}. "
                "Use `BinaryConv2D`."
            )

    def scaled_by_inputs(self, outputs, inputs):
        axis = 1 if self.data_format == "channels_first" else -1
        magnitudes = magnitude(inputs, [axis])
        window = tuple(self.kernel_size)
        mean = ops.full((*window, 1, 1), 1 / math.prod(window), outputs.dtype)
        return outputs * self.convolution_op(magnitudes, mean)


@keras.saving.register_keras_serializable("fritz_compress")
class XnorDense(BinaryDense):
    """Dense layer of signs with signs, scaled by kernel and inputs: XNOR-Net.

    The mean magnitude of all inputs of a sample is the scale `K`, as in a
    convolution whose filter covers a whole picture. See `XnorConv2D`.

    Args:
        units: As of `keras.layers.Dense`.
        kernel_quantizer: By default "magnitude_aware_sign".
        **kwargs: All else as of `BinaryDense`.

    Raises:
        TypeError, ValueError: as `BinaryDense`.
    """

    def __init__(
        self, units: int, *, kernel_quantizer: Any = _SCALED, **kwargs
    ):
        super().__init__(units, kernel_quantizer=kernel_quantizer, **kwargs)

    def scaled_by_inputs(self, outputs, inputs):
        return outputs * magnitude(inputs, [-1])
