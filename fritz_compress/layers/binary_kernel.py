"""What layers with a kernel of few bits have in common."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from fritz_compress import quantizers
from fritz_compress.checks import check_positive, described, is_number

AUTO = "auto"


@keras.saving.register_keras_serializable("fritz_compress")
class WeightClip(keras.constraints.Constraint):
    """Keeps weights within a range: latent ones, so that their signs can turn.

    Args:
        clip_value: Largest magnitude. Defaults to 1.

    Raises:
        TypeError, ValueError: for a `clip_value` that is not above 0.

    Reference: Courbariaux et al., "BinaryConnect",
    https://arxiv.org/abs/1511.00363, section 2.4.
    """

    def __init__(self, clip_value: float = 1.0):
        check_positive("clip_value", clip_value)
        self.clip_value = clip_value

    def __call__(self, weights: Any) -> Any:
        return ops.clip(weights, -self.clip_value, self.clip_value)

    def get_config(self) -> dict[str, Any]:
        return {"clip_value": self.clip_value}


class BinaryKernel:
    """Mixed into a layer of Keras whose kernel is to be of few bits.

    The kernel of the layer holds the latent weights, which are floats. At
    each call it is quantized, and so are the inputs. Outside of training sums
    of levels are made first and scaled after, so that with signs on both
    sides they are whole numbers without rounding.

    Attributes:
        quantizes_kernel, quantizes_inputs: Whether it does so now;
            `callbacks.GradualBinarization` changes them.
    """

    # Axes of the kernel that are within a filter; what its constraint is
    # called. A subclass says otherwise.
    kernel_axes: Sequence[int] = (0, 1, 2)
    constraint_argument = "kernel_constraint"

    def _init_binary(
        self,
        kernel_quantizer: Any,
        input_quantizer: Any,
        kernel_clip: float | str | None,
        pad_values: float,
        use_scale: bool,
        arguments: dict[str, Any],
    ) -> None:
        """In place of the constructor of Keras, which it calls."""
        if kernel_clip not in (None, AUTO):
            check_positive("kernel_clip", kernel_clip)
            if arguments.get(self.constraint_argument) is not None:
                raise ValueError(
                    f"One constraint is for the kernel. Received: kernel_clip="
                    f"{kernel_clip} and {self.constraint_argument}="
                    f"{described(arguments[self.constraint_argument])}. Pass "
                    "kernel_clip=None."
                )
        if not is_number(pad_values):
            raise TypeError(
                "`pad_values` must be a number, such as 0, 1 or -1. Received: "
                f"pad_values={described(pad_values)}."
            )
        super().__init__(**arguments)
        self.kernel_clip = kernel_clip
        self.pad_values = pad_values
        self.use_scale = use_scale
        self.kernel_quantizer = self._quantizer(kernel_quantizer, "kernel")
        self.input_quantizer = self._quantizer(input_quantizer, "input")
        self._clip_kernel()
        # Keras carries the states of those that are attributes of a layer.
        both = self.kernel_quantizer, self.input_quantizer
        self.seed_generators = [
            quantizer.seed_generator
            for quantizer in both
            if quantizer is not None and quantizer.seed_generator is not None
        ]
        self.quantizes_kernel = self.quantizes_inputs = True

    def _clip_kernel(self):
        """Makes the clip the constraint, unless the layer has one."""
        limit = self.kernel_clip
        if limit == AUTO:
            quantizer = self.kernel_quantizer
            own = getattr(quantizer, "clip_value", None) or 1.0
            limit = None if quantizer is None else own
        self._clips = limit is not None and not self._constraint()
        if self._clips:
            setattr(self, self.constraint_argument, WeightClip(limit))

    def _constraint(self):
        return getattr(self, self.constraint_argument)

    def _quantizer(self, quantizer, of):
        if quantizer is None:
            return None
        quantizer = quantizers.get(quantizer)
        if not isinstance(quantizer, quantizers.BitQuantizer):
            raise TypeError(
                f"`{of}_quantizer` of layer '{self.name}' must be a "
                f"`quantizers.BitQuantizer`. Received: {described(quantizer)}, "
                "which needs a range. Use 'ste_sign', 'magnitude_aware_sign' "
                "or 'dorefa', or `quantization_aware` for 8-bit integers."
            )
        if of == "kernel" and getattr(quantizer, "mode", "") == "activations":
            raise ValueError(
                f"`kernel_quantizer` of layer '{self.name}' must have negative "
                "levels. Received: DoReFa(mode='activations'). Pass "
                f"quantizers.DoReFa({quantizer.nbits}, mode='weights')."
            )
        return quantizer

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.kernel_scale = None
        if self.use_scale:
            self.kernel_scale = self.add_weight(
                name="kernel_scale",
                shape=(self._filters(),),
                initializer="ones",
            )

    def quantized_inputs(
        self, inputs: Any, training: bool | None = None
    ) -> Any:
        """The levels of the inputs, or the inputs if they stay floats."""
        if self.input_quantizer is None or not self.quantizes_inputs:
            return inputs
        return self.input_quantizer(inputs, training=training)

    def kernel_levels(self, training: bool | None = None) -> tuple[Any, Any]:
        """The levels of the kernel, and a scale per filter or `None`.

        The scale is that of the quantizer and `kernel_scale` together.
        """
        # A tensor, which `convert_to_tensor` does not make of a variable.
        levels, scale = ops.cast(self.kernel, self.kernel.dtype), None
        if self.kernel_quantizer is not None and self.quantizes_kernel:
            levels, scale = self.kernel_quantizer.levels_and_scale(
                levels, self.kernel_axes, training
            )
        if scale is not None:
            scale = ops.broadcast_to(
                ops.reshape(scale, (-1,)), (self._filters(),)
            )
        if self.kernel_scale is not None:
            own = ops.cast(self.kernel_scale, self.kernel_scale.dtype)
            scale = own if scale is None else scale * own
        return levels, scale

    def _computed(
        self,
        inputs: Any,
        product: Callable[[Any, Any], Any],
        training: bool | None,
    ) -> Any:
        """Products of levels, scaled; bias and activation."""
        levels, scale = self.kernel_levels(training)
        if training and scale is not None:
            # Fewer passes over the outputs. Whole sums are for what is run.
            filters = levels.shape[len(self.kernel_axes) :]
            levels, scale = levels * ops.reshape(scale, filters), None
        values = self.quantized_inputs(inputs, training)
        if self.pads:
            # Sums with another padding than zeros, for pictures of any size.
            border = ops.sum(levels, axis=self.kernel_axes)
            outputs = product(values - self.pad_values, levels)
            border = self._by_channel(border * self.pad_values)
            outputs = outputs + border
        else:
            outputs = product(values, levels)
        return self.of_sums(outputs, scale, inputs)

    def of_sums(self, sums: Any, scale: Any, inputs: Any) -> Any:
        """Outputs of the layer: sums of levels, scaled; bias and activation.

        Args:
            sums: Of products of levels, as many as outputs.
            scale: A number for each filter, or `None`.
            inputs: What the layer was called with.
        """
        outputs = sums
        if scale is not None:
            outputs = outputs * self._by_channel(scale)
        outputs = self.scaled_by_inputs(outputs, inputs)
        if self.use_bias:
            outputs = outputs + self._by_channel(self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def scaled_by_inputs(self, outputs: Any, inputs: Any) -> Any:
        """Nothing; XNOR layers multiply by the magnitude of the inputs."""
        return outputs

    @property
    def pads(self) -> bool:
        """Whether there is padding with other numbers than zeros."""
        return False

    @property
    def kernel_bits(self) -> int:
        """Bits of one number of the kernel."""
        quantizer = self.kernel_quantizer
        return 32 if quantizer is None else quantizer.nbits

    @property
    def input_bits(self) -> int:
        """Bits of one number of the inputs, as the layer reads them."""
        quantizer = self.input_quantizer
        return 32 if quantizer is None else quantizer.nbits

    @property
    def is_binary(self) -> bool:
        """Whether its sums are of products of two signs."""
        both = self.kernel_quantizer, self.input_quantizer
        return all(q is not None and q.is_sign for q in both)

    def _by_channel(self, vector):
        """Numbers of each filter, to broadcast to outputs."""
        axes = getattr(self, "data_format", None) == "channels_first"
        return ops.reshape(vector, (-1,) + (1, 1) * axes)

    def _filters(self):
        raise NotImplementedError

    # Those of Keras' convolutions and dense layers know of kernel and bias
    # alone. These are Keras' own too, so `storage` knows what they do.
    save_own_variables = keras.layers.Layer.save_own_variables
    load_own_variables = keras.layers.Layer.load_own_variables

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self._clips:
            config[self.constraint_argument] = None
        return {
            **config,
            "kernel_quantizer": _serialized(self.kernel_quantizer),
            "input_quantizer": _serialized(self.input_quantizer),
            "kernel_clip": self.kernel_clip,
            "pad_values": self.pad_values,
            "use_scale": self.use_scale,
        }


def has_few_bits(layer: keras.Layer) -> bool:
    """Whether the weight `kernel` of a layer is latent, of few bits if used."""
    if not isinstance(layer, BinaryKernel):
        return False
    return layer.kernel_quantizer is not None


def _serialized(quantizer):
    return None if quantizer is None else quantizers.serialize(quantizer)
