"""Latent weights give way to their levels."""

import keras
import numpy as np

from fritz_compress.checks import check_built, check_model
from fritz_compress.layers.binary_kernel import BinaryKernel, has_few_bits
from fritz_compress.surgery.names import every_layer, name_layers
from fritz_compress.surgery.removal import copied
from fritz_compress.surgery.training_state import compile_like


def convert_to_binary(model: keras.Model) -> keras.Model:
    """A new model that holds what is deployed: kernels of 1 and -1.

    Each layer with a kernel quantizer is made anew with the levels of its
    kernel in place of the latent weights, and the scale of each filter, where
    the quantizer has one, as the weight `kernel_scale`. Kernels of 2 to 8
    bits become their levels likewise. The new model predicts the same, bit
    for bit. These layers are not trainable any more; all others are.

    Nothing is smaller or faster by itself: `save_compressed` stores a kernel
    in a bit per number, `to_coreml` in tables of two entries, and
    `PackedModel` computes with the bits.

    Args:
        model: A Functional or built Sequential model, models inside it and
            shared layers included. It is not changed.

    Returns: the model, compiled as `model` is.

    Raises:
        TypeError: for what is no model.
        ValueError: for a model without a graph, without binary layers, or
            with one inside another layer, such as `TimeDistributed`.

    Example:

    >>> deployed = convert_to_binary(model)
    >>> fc.save_compressed(deployed, "network.fcz")
    """
    check_model(model)
    check_built(model)
    names = name_layers(model)
    found = [layer for layer in names if has_few_bits(layer)]
    _check_found(model, found)
    replaced = {layer: [of_levels(layer)] for layer in found}
    binary = copied(model, replaced)
    for (layer,) in replaced.values():
        layer.trainable = False
    compile_like(model, binary)
    return binary


def _check_found(model, found):
    for outer, name, inner in every_layer(model):
        if has_few_bits(inner) and inner not in found:
            raise ValueError(
                f"Layer '{name}' must be a layer of the model itself. "
                f"Received: one inside '{outer.name}' "
                f"({type(outer).__name__}). Convert the model of it alone, or "
                "build without the wrapper."
            )
    if not found:
        raise ValueError(
            f"Model '{model.name}' must have layers with a kernel quantizer, "
            "such as `layers.BinaryConv2D`. Received: a model without any. "
            "Make it with `binarize`, or with a builder of `models`."
        )


def of_levels(layer: BinaryKernel) -> BinaryKernel:
    """The layer with its levels as kernel, built."""
    levels, scale = layer.kernel_levels(training=False)
    quantizer = layer.kernel_quantizer.of_levels()
    new = type(layer).from_config(
        {
            **layer.get_config(),
            "kernel_quantizer": quantizer,
            "kernel_clip": None,
            "use_scale": scale is not None,
        }
    )
    new.build(layer.get_build_config()["input_shape"])
    # Copies: JAX may delete the array of a variable that it computes with.
    new.kernel.assign(keras.ops.convert_to_numpy(levels))
    if scale is not None:
        new.kernel_scale.assign(
            np.broadcast_to(
                keras.ops.convert_to_numpy(scale), new.kernel_scale.shape
            )
        )
    if layer.use_bias:
        new.bias.assign(keras.ops.convert_to_numpy(layer.bias))
    return new
