"""Rules of the trade: what binary networks should not do."""

import warnings

import keras

from fritz_compress import graph
from fritz_compress.binarization.surroundings import Surroundings
from fritz_compress.layers.binary_kernel import BinaryKernel
from fritz_compress.surgery.names import name_layers

MOST_ACTIVATION_BITS = 4


def design_warnings(model: keras.Model) -> list[str]:
    """What of a model with binary layers is likely to train badly.

    - The first or the last layer with a kernel is binary: they hold few
      weights and decide much. (A dense layer may be the first, if its inputs
      stay as they are.)
    - A 1x1 convolution has a binary kernel: it sums too few signs.
    - There is no normalization before a sign, or a ReLU in between: signs of
      numbers that are mostly of one sign say little.
    - Activations have more than 4 bits: `quantization_aware` makes integers
      of 8 bits, which every phone computes with.

    `binarize` and the callbacks of binary networks warn with these.

    Args:
        model: A Functional or built Sequential model.

    Returns: a sentence for each, which names the layer.

    References: Rastegari et al., "XNOR-Net",
    https://arxiv.org/abs/1603.05279, sections 3.2 and 4.1; Bethge et al.,
    "Back to Simplicity: How to Train Accurate BNNs from Scratch?",
    https://arxiv.org/abs/1906.08637.

    Example:

    >>> design_warnings(model)
    ["Layer 'shortcut': a 1x1 convolution sums few signs ..."]
    """
    traced = graph.trace(model)
    around = Surroundings(traced, _has_kernel)
    names = name_layers(model)
    found = []
    for layer in dict.fromkeys(node.operation for node in traced.nodes):
        if isinstance(layer, BinaryKernel):
            name = names.get(layer, layer.name)
            found += [
                f"Layer '{name}': {text}" for text in _faults(layer, around)
            ]
    return found


def warn_of_design(model: keras.Model, stacklevel: int = 2) -> None:
    """Warns with each of `design_warnings`, if a model has a graph.

    Args:
        model: Any model.
        stacklevel: As of `warnings.warn`, for the caller.
    """
    for text in design_warnings(model) if graph.is_graph(model) else []:
        warnings.warn(text, stacklevel=stacklevel + 1)


def _faults(layer, around):
    if _is_first(layer, around):
        yield (
            "the first layer is binary. It has few weights and sees the "
            "inputs alone: leave it float."
        )
    if layer.kernel_bits == 1 and around.is_last(layer):
        yield (
            "the last layer is binary. Its outputs are what the loss sees: "
            "leave it float."
        )
    window = tuple(getattr(layer, "kernel_size", ()))
    if layer.kernel_bits == 1 and window and set(window) == {1}:
        yield (
            "a 1x1 convolution with a binary kernel sums few signs: leave it "
            "float, or make it 3x3."
        )
    if not _is_normalized(layer, around):
        yield (
            "there is no normalization right before the sign, or a ReLU "
            "between: put a BatchNormalization in front."
        )
    if MOST_ACTIVATION_BITS < layer.input_bits < 32:
        yield (
            f"activations of {layer.input_bits} bits are more than "
            f"{MOST_ACTIVATION_BITS}: `quantization_aware` makes integers of "
            "8 bits that phones compute with."
        )


def _is_first(layer, around):
    if layer.kernel_bits > 1 and layer.input_bits > 1:
        return False
    if isinstance(layer, keras.layers.Dense) and layer.input_bits > 1:
        return False
    return around.is_first(layer)


def _is_normalized(layer, around):
    quantizer = layer.input_quantizer
    if quantizer is None or not quantizer.is_sign:
        return True
    return all(map(around.is_normalized, around.calls(layer)))


def _has_kernel(operation):
    return hasattr(operation, "kernel")
