"""The binary layers of a model that is trained."""

import keras

from fritz_compress.layers.binary_kernel import BinaryKernel
from fritz_compress.surgery.names import every_layer


def binary_layers(
    model: keras.Model, *quantizers: str
) -> dict[str, BinaryKernel]:
    """Layers with one of these quantizers, by name, in the model's order.

    Args:
        model: Any built model.
        *quantizers: `"kernel_quantizer"`, `"input_quantizer"` or both.

    Raises:
        ValueError: if there are none.
    """
    found = {
        name: layer
        for _, name, layer in every_layer(model)
        if isinstance(layer, BinaryKernel)
        and any(getattr(layer, each) is not None for each in quantizers)
    }
    if not found:
        raise ValueError(
            f"Model '{model.name}' must have binary layers, such as "
            "`layers.BinaryConv2D`. Received: a model without any that has a "
            f"{' or '.join(quantizers)}. Make it with `binarize`."
        )
    return found
