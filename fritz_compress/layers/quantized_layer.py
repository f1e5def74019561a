from typing import Any

import keras
from keras import ops

from fritz_compress import quantizers
from fritz_compress.layers.linear_operations import (
    gain_and_offset,
    operation_of,
)
from fritz_compress.layers.requantization import requantization

# Largest integer of a bias: TFLite adds it to sums of 32 bits.
_LARGEST_BIAS = 2**30
_ACTIVATIONS = {"linear": lambda x: x, "relu": ops.relu, "relu6": ops.relu6}


@keras.saving.register_keras_serializable("fritz_compress")
class QuantizedLayer(keras.layers.Layer):
    """A convolution or dense layer as TFLite computes it with integers.

    Holds the layer, and the batch normalization and the ReLU behind it, which
    become one operation in the file: the normalization is folded into kernel
    and bias, and the kernel has one scale per output channel.

    In training the normalization works on the statistics of the batch, with
    the kernel quantized before it. That is the same arithmetic, as scales are
    symmetric: a factor on a channel multiplies its scale and leaves its
    integers. At inference, and in training once `frozen` or where the
    normalization is not trainable, kernel and bias are folded as in the file,
    and the bias is rounded to the steps that it has there.

    Args:
        layer: `Conv1D`, `Conv2D`, `Conv2DTranspose`, `DepthwiseConv1D`,
            `DepthwiseConv2D` or `Dense` without activation, or its
            configuration.
        normalization: A `BatchNormalization` of the last axis, or `None`.
        activation: `"linear"`, `"relu"` or `"relu6"`. Defaults to
            `"linear"`.
        quantizer: Name or object of `fritz_compress.quantizers`, a symmetric
            one. Defaults to `"linear_symmetric"` of 8 bits.
        keep_zeros: Whether weights that are zero stay zero in training, and
            channels that were pruned stay gone. Which ones are is seen by
            `remember`. Defaults to `False`.
        clusters: If not 0, the kernel has so many values, each of them shared
            by the weights of one cluster, which are trained as one. Which
            weights those are is told by `remember`. Defaults to 0.
        per_channel: Whether each output channel has a scale of its own.
            Defaults to `True`; one scale for all keeps the integers of a
            codebook that is shared by all channels as few as it has entries.
        frozen: Whether the folded form is used in training too. Defaults to
            `False`.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Call arguments:
        inputs: What the layer takes.
        input_range: The second output of the `ActivationRange` in front.
        training: As in Keras.

    Output shape: that of the layer, and `(2, channels)`: how TFLite's own code
    rounds the sums of products, as of `requantization`.

    Raises:
        TypeError, ValueError: on construction for an argument that is not as
            described.

    Reference: Jacob et al., https://arxiv.org/abs/1712.05877, section 3.2;
    Krishnamoorthi, https://arxiv.org/abs/1806.08342, section 3.2.2, for
    training with the statistics of the batch, then without.
    """

    def __init__(
        self,
        layer: Any,
        normalization: Any = None,
        activation: str = "linear",
        quantizer: Any = "linear_symmetric",
        keep_zeros: bool = False,
        clusters: int = 0,
        per_channel: bool = True,
        frozen: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.layer = _layer(layer)
        self.normalization = _layer(normalization)
        self.activation = activation
        self.quantizer = quantizers.get(quantizer)
        self.keep_zeros = keep_zeros
        self.clusters = clusters
        self.per_channel = per_channel
        self.frozen = frozen
        self._operation = operation_of(self.layer)
        self._check()

    def build(self, inputs_shape, input_range_shape=None):
        if not self.layer.built:
            self.layer.build(inputs_shape)
        outputs_shape = self.layer.compute_output_shape(inputs_shape)
        if self.normalization is not None and not self.normalization.built:
            self.normalization.build(outputs_shape)
        shape = self.layer.kernel.shape
        if self.keep_zeros:
            self.kept = self._constant("kept", shape, "uint8")
            self.kept_channels = self._constant(
                "kept_channels", outputs_shape[-1:], "float32"
            )
        if self.clusters:
            self.members = self._constant("members", shape, "int32")
        self.built = True

    def call(self, inputs, input_range, training=False):
        activation = _ACTIVATIONS[self.activation]
        if training and self._normalizes_batches():
            outputs = self._normalized(inputs)
            # Widths of steps are known once nothing depends on the batch.
            how = requantization(self.layer, ops.zeros(outputs.shape[-1:]))
            return activation(outputs), how
        kernel, limit, bias = self.folded(input_range[2])
        outputs = self._rounded(inputs, kernel, limit)
        if bias is not None:
            outputs = outputs + bias
        scale = self._accumulator_scale(input_range[2], limit)
        return activation(outputs), requantization(self.layer, scale)

    def compute_output_shape(self, inputs_shape, input_range_shape=None):
        shape = self.layer.compute_output_shape(inputs_shape)
        return shape, (2, shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
            "normalization": keras.saving.serialize_keras_object(
                self.normalization
            ),
            "activation": self.activation,
            "quantizer": quantizers.serialize(self.quantizer),
            "keep_zeros": self.keep_zeros,
            "clusters": self.clusters,
            "per_channel": self.per_channel,
            "frozen": self.frozen,
        }

    def folded(self, input_step: Any) -> tuple[Any, Any, Any]:
        """The numbers of the file, before kernels become integers.

        Args:
            input_step: Width of a step of the input.

        Returns: the kernel with the normalization folded in, its output
        channels on the last axis; the largest magnitude that each channel's
        integers stand for, shape `(channels,)`; and the bias, rounded to the
        steps of the sums of products, or `None`.
        """
        kernel, limit, bias = self._folded()
        if bias is None:
            return kernel, limit, None
        # A nearly dead channel: its step must not be too small for its bias.
        least = ops.abs(bias) / input_step * (self._top() / _LARGEST_BIAS)
        limit = ops.stop_gradient(ops.maximum(limit, least))
        step = self._accumulator_scale(input_step, limit)
        rounded = ops.round(bias / step) * step
        return kernel, limit, bias + ops.stop_gradient(rounded - bias)

    def call_with_floats(self, inputs: Any) -> Any:
        """What the layers inside compute at inference, nothing rounded."""
        kernel, _, bias = self._folded()
        outputs = self._linear(inputs, kernel)
        outputs = outputs if bias is None else outputs + bias
        return _ACTIVATIONS[self.activation](outputs)

    def rounded_kernel(self) -> Any:
        """The layer's own kernel, every number at the level it stands for."""
        kernel = self._kernel()
        limit = self._limit(kernel)
        kernel = self.quantizer(kernel, -limit, limit)
        return self._operation.turn_back(kernel, tuple(self.layer.kernel.shape))

    def plain_kernel(self) -> Any:
        """The layer's own kernel with zeros and clusters as they are kept."""
        kernel = ops.convert_to_tensor(self.layer.kernel)
        if self.clusters:
            members = ops.reshape(self.members, (-1,))
            ones = ops.ones_like(kernel)
            sums, counts = (
                ops.segment_sum(ops.reshape(x, (-1,)), members, self.clusters)
                for x in (kernel, ones)
            )
            # The mean hands each member the same share of the gradient, so
            # equal weights stay equal whatever the optimizer.
            means = sums / ops.maximum(counts, 1.0)
            kernel = ops.reshape(ops.take(means, members), kernel.shape)
        if self.keep_zeros:
            kernel = kernel * ops.cast(self.kept, kernel.dtype)
        return kernel

    def remember(self, members: Any = None) -> None:
        """Takes the zeros and clusters to keep from the weights as they are.

        Args:
            members: Number of the cluster that each weight of the kernel is
                in, integers in its shape; for `clusters` other than 0.
        """
        if self.clusters:
            self.members.assign(members)
        if self.keep_zeros:
            kernel = ops.convert_to_tensor(self.layer.kernel)
            self.kept.assign(ops.cast(ops.not_equal(kernel, 0.0), "uint8"))
            alive = ops.any(self._flat(kernel) != 0, axis=0)
            for weight in self._of_channels():
                weight = ops.convert_to_tensor(weight)
                alive = ops.logical_or(alive, weight != 0)
            self.kept_channels.assign(ops.cast(alive, "float32"))

    def _folded(self):
        """Kernel, its limits and bias with the normalization in them."""
        kernel, bias = self._kernel(), self._bias()
        limit = self._limit(kernel)
        if self.normalization is not None:
            gain, offset = gain_and_offset(self.normalization)
            kernel, limit = kernel * gain, limit * ops.abs(gain)
            bias = offset if bias is None else bias * gain + offset
        if self.keep_zeros and bias is not None:
            bias = bias * self.kept_channels
        return kernel, ops.where(limit > 0, limit, 1.0), bias

    def _accumulator_scale(self, input_step, limit):
        return ops.stop_gradient(input_step * limit) / self._top()

    def _top(self):
        """The largest integer of a kernel."""
        return 2 ** (self.quantizer.nbits - 1) - 1

    def _normalized(self, inputs):
        """With the statistics of the batch."""
        kernel, bias = self._kernel(), self._bias()
        outputs = self._rounded(inputs, kernel, self._limit(kernel))
        if bias is not None:
            outputs = outputs + bias
        outputs = self.normalization(outputs, training=True)
        return outputs * self.kept_channels if self.keep_zeros else outputs

    def _normalizes_batches(self):
        return (
            self.normalization is not None
            and self.normalization.trainable
            and not self.frozen
        )

    def _rounded(self, inputs, kernel, limit):
        return self._linear(inputs, self.quantizer(kernel, -limit, limit))

    def _linear(self, inputs, kernel):
        """The layer on another kernel, whose channels are last."""
        shape = tuple(self.layer.kernel.shape)
        return self._operation.apply(
            self.layer, inputs, self._operation.turn_back(kernel, shape)
        )

    def _kernel(self):
        return self._operation.turn(self.plain_kernel())

    def _limit(self, kernel):
        """Largest magnitude of each channel, or of all of them."""
        size = ops.abs(ops.stop_gradient(kernel))
        own = ops.max(size, axis=tuple(range(len(kernel.shape) - 1)))
        own = own if self.per_channel else ops.ones_like(own) * ops.max(own)
        return ops.where(own > 0, own, 1.0)

    def _bias(self):
        if not self.layer.use_bias:
            return None
        return ops.convert_to_tensor(self.layer.bias)

    def _flat(self, kernel):
        kernel = self._operation.turn(kernel)
        return ops.reshape(kernel, (-1, kernel.shape[-1]))

    def _of_channels(self):
        """The weights that give an output without any input."""
        if self.layer.use_bias:
            yield self.layer.bias
        if self.normalization is not None:
            if self.normalization.scale:
                yield self.normalization.gamma
            if self.normalization.center:
                yield self.normalization.beta

    def _constant(self, name, shape, dtype):
        return self.add_weight(
            name=name,
            shape=shape,
            initializer="ones",
            trainable=False,
            dtype=dtype,
            autocast=False,
        )

    def _check(self):
        kind = type(self.layer).__name__
        if self._operation is None:
            raise ValueError(
                f"Layer '{self.name}' cannot quantize a {kind}. Expected a "
                "Conv1D, Conv2D, Conv2DTranspose, DepthwiseConv1D, "
                "DepthwiseConv2D or Dense."
            )
        if self.layer.activation is not keras.activations.linear:
            raise ValueError(
                f"Layer '{self.layer.name}' must have no activation of its "
                "own: pass it as `activation=`. Received: "
                f"{self.layer.activation}."
            )
        if getattr(self.layer, "data_format", "") == "channels_first":
            raise ValueError(
                f"Layer '{self.layer.name}' must have its channels last, as "
                "in TFLite. Received: data_format='channels_first'."
            )
        if self.activation not in _ACTIVATIONS:
            raise ValueError(
                f"`activation` of layer '{self.name}' must be one of "
                f"{list(_ACTIVATIONS)}. Received: {self.activation!r}."
            )


def _layer(layer):
    if isinstance(layer, dict):
        return keras.saving.deserialize_keras_object(layer)
    return layer
