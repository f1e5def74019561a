"""Which weights callbacks on single weights may zero."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from fritz_compress.checks import check_built
from fritz_compress.graph import weights_by_attribute
from fritz_compress.layers.binary_kernel import has_few_bits
from fritz_compress.surgery.kernel_axes import is_depthwise, summed_axes
from fritz_compress.surgery.names import (
    every_layer,
    find_layer,
    layers_inside,
    listed_reasons,
)

# What Keras calls weights that mix many inputs into many outputs.
KERNELS = ("kernel", "pointwise_kernel", "recurrent_kernel", "embeddings")


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """A weight that may have zeros anywhere.

    Attributes:
        layer: Name of the layer, with the layers around it where it is not
            the model's own, such as `"attention/query"`.
        weight: The weight.
        summed: Axes along which the layer sums, counted from the first;
            empty for an embedding, which is looked up.
    """

    layer: str
    weight: keras.Variable
    summed: tuple[int, ...]

    def read(self) -> np.ndarray:
        """The values as float32.

        Raises:
            ValueError: if one is NaN, which no rank orders.
        """
        values = keras.ops.convert_to_numpy(self.weight).astype("float32")
        if np.isnan(values).any():
            raise ValueError(
                "Weights must be numbers, to tell which matter. Received: NaN "
                f"in '{self.weight.name}' of layer '{self.layer}'. Go back to "
                "weights from before training diverged, and lower the "
                "learning rate."
            )
        return values


def find_kernels(
    model: keras.Model,
    ignored_layers: Sequence[str] = (),
    summed_only: bool = False,
) -> tuple[list[Kernel], tuple[tuple[str, str], ...]]:
    """The kernels whose weights may be zeroed, and why the others may not.

    Args:
        model: Any built model.
        ignored_layers: Names of layers, or of models inside the model, that
            are left alone.
        summed_only: Whether to leave out kernels that no layer sums over.

    Returns: the kernels in the order of the model's layers; and for each
        weight of two or more axes that is left alone the name of its layer
        and the reason. Weights of one axis, as biases, are not listed.

    Raises:
        ValueError: for an unknown name, a model that is not built, or if no
            kernel is left.
    """
    ignored = layers_inside(find_layer(model, name) for name in ignored_layers)
    kernels, skipped, seen = [], [], set()
    for outer, name, layer in every_layer(model):
        for attribute, weight in weights_by_attribute(layer).items():
            # Layers inside the layer come by themselves.
            if "." in attribute or len(weight.shape) < 2 or id(weight) in seen:
                continue
            seen.add(id(weight))
            reason = _reason_to_skip(layer, attribute, weight)
            if outer in ignored:
                reason = f"'{name}' is in ignored_layers"
            summed = () if reason else summed_axes(layer, len(weight.shape))
            if reason is None and summed_only and not summed:
                reason = "an embedding is looked up, not summed"
            if reason is None:
                kernels.append(Kernel(name, weight, summed))
            else:
                skipped.append((name, reason))
    if not kernels:
        check_built(model)
        raise ValueError(
            f"Model '{model.name}' has no weights that can be pruned."
            f"{listed_reasons(skipped)}"
        )
    return kernels, tuple(skipped)


def measured_sparsity(kernels: Sequence[Kernel]) -> float:
    """Fraction of exact zeros in all kernels together."""
    values = [keras.ops.convert_to_numpy(kernel.weight) for kernel in kernels]
    zeros = sum(int(np.count_nonzero(value == 0)) for value in values)
    return zeros / sum(value.size for value in values)


def _reason_to_skip(layer, attribute, weight):
    if is_depthwise(layer, attribute):
        return "a depthwise kernel has few weights, and each counts"
    if attribute not in KERNELS:
        return f"'{attribute}' is not a kernel"
    if not weight.trainable:
        return "not trainable"
    if has_few_bits(layer):
        return "its kernel has few bits, where a zero is a sign like others"
    return None
