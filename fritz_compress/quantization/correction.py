"""Product quantization of a model, corrected on samples layer by layer."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from fritz_compress.checks import (
    check_built,
    check_count,
    check_model,
    described,
)
from fritz_compress.graph import trace
from fritz_compress.ops.codes import ProductCodes
from fritz_compress.ops.error_correction import error_corrected_quantize
from fritz_compress.quantization.config import WeightConfig
from fritz_compress.quantization.granularity import vectors_of
from fritz_compress.surgery.names import find_layer
from fritz_compress.surgery.patches import sample_patches

CORRECTED = (keras.layers.Conv2D, keras.layers.Dense)


def error_corrected_codes(
    model: keras.Model,
    configs: Mapping[str, WeightConfig],
    data: Any,
    samples: int = 2000,
    sweeps: int = 10,
    seed: int = 0,
) -> dict[str, ProductCodes]:
    """Codes kernels one layer after the other, so that outputs stay close.

    Each layer's codebooks are fitted to what the layer gives in the original
    model, on inputs as they are once the layers before it are quantized, so
    that errors do not add up. The model is not changed. All data run through
    it in one batch, and all activations stay in memory until the end.

    Args:
        model: A Functional or a built Sequential model.
        configs: For each layer to quantize, by name: a `Conv2D` with one
            group, or a `Dense`, and a configuration of mode "product" with
            sub-vectors along the inputs. "per_block" has a codebook per
            sub-space, as Q-CNN; "per_tensor" one for all.
        data: Inputs as the model takes them, some tens of pictures; a list
            for several inputs.
        samples: Output positions drawn from the data for each layer, at most.
            More than a kernel has inputs (height * width * channels) are
            wanted, else the codebooks fit the samples alone.
        sweeps: Updates of all codebooks of a layer, at most.
        seed: Seed of the k-means and of the positions drawn.

    Returns: the codes of each kernel by the layer's name; `decode()` has the
    kernel's shape. A layer called several times is fitted to its first call.

    Raises:
        TypeError: for what is no model or no configuration.
        ValueError: for a layer that is not there, never called, or of another
            kind, and for a configuration of another mode.

    Reference: Wu et al., "Quantized convolutional neural networks for mobile
    devices", https://arxiv.org/abs/1512.06473, section 3.3.
    """
    check_model(model)
    check_built(model)
    check_count("samples", samples)
    check_count("sweeps", sweeps, least=0)
    layers = {
        find_layer(model, name): (name, chosen)
        for name, chosen in configs.items()
    }
    for layer, (name, chosen) in layers.items():
        _check_layer(layer, name, chosen)
    walk = _Walk(layers, samples, sweeps, seed)
    # The batch twice: the original model's, and the quantized model's.
    doubled = [np.concatenate([x, x]) for x in _arrays(model, data)]
    inputs = [keras.ops.convert_to_tensor(x) for x in doubled]
    trace(model).run(inputs, walk.call)
    missing = [name for name, _ in layers.values() if name not in walk.codes]
    if missing:
        raise ValueError(
            f"Layer '{missing[0]}' is never called when model '{model.name}' "
            "runs, so it has no samples. Leave it out."
        )
    return {name: walk.codes[name] for name in configs}


class _Walk:
    """Runs a model's graph on a batch twice as long: original, quantized."""

    def __init__(self, layers, samples, sweeps, seed):
        self.layers = layers
        self.samples = samples
        self.sweeps = sweeps
        self.seed = seed
        self.codes = {}

    def call(self, node, *args, **kwargs):
        layer = node.operation
        if "training" in kwargs:
            kwargs["training"] = False
        outputs = layer(*args, **kwargs)
        if layer not in self.layers:
            return outputs
        both = args[0] if args else kwargs["inputs"]
        half = both.shape[0] // 2
        name, chosen = self.layers[layer]
        if name not in self.codes:
            self.codes[name] = self._corrected(
                layer, chosen, keras.ops.convert_to_numpy(both)
            )
        kernel = self.codes[name].decode()
        quantized = _call_with_kernel(layer, kernel, both[half:])
        return keras.ops.concatenate([outputs[:half], quantized])

    def _corrected(self, layer, chosen, both):
        kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float32")
        *_, channels, filters = kernel.shape
        flat = kernel.reshape(-1, channels, filters)
        # One seed for both halves: the same positions of the same pictures.
        original, quantized = (
            sample_patches(layer, half, self.samples, self.seed)
            for half in np.split(both, 2)
        )
        _, length, groups, _ = vectors_of(layer, "kernel", kernel.shape, chosen)
        codes = error_corrected_quantize(
            flat,
            chosen.nbits,
            length,
            patches=quantized,
            targets=np.tensordot(original, flat, 2),
            groups=(1, *groups[-2:]),
            sweeps=self.sweeps,
            seed=self.seed,
        )
        return _like_kernel(codes, kernel.shape)


def _call_with_kernel(layer, kernel, inputs):
    """The layer's outputs as if it had another kernel."""
    kernel = keras.ops.convert_to_tensor(kernel, layer.kernel.dtype)
    trainable, others = (
        [kernel if w is layer.kernel else w.value for w in weights]
        for weights in (
            layer.trainable_variables,
            layer.non_trainable_variables,
        )
    )
    return layer.stateless_call(trainable, others, inputs)[0]


def _like_kernel(codes, shape):
    """Codes of a kernel whose positions were one axis, in its own shape."""
    *positions, _, filters = shape
    size, length = codes.codebooks.shape[-2:]
    ones = [1] * len(positions)
    return dataclasses.replace(
        codes,
        codes=codes.codes.reshape(*positions, -1, filters),
        codebooks=codes.codebooks.reshape(*ones, -1, 1, size, length),
        axis=len(positions),
    )


def _arrays(model, data):
    """The data as one array per input of the model, in its type."""
    arrays = [np.asarray(x) for x in keras.tree.flatten(data)]
    lengths = {len(array) for array in arrays}
    if len(arrays) != len(model.inputs) or len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"`data` must have one array for each of the {len(model.inputs)} "
            f"inputs of model '{model.name}', all as long and not empty. "
            f"Received: shapes {[array.shape for array in arrays]}."
        )
    # As the model takes them: its layers are run one by one.
    pairs = zip(arrays, model.inputs)
    return [array.astype(tensor.dtype) for array, tensor in pairs]


def _check_layer(layer, name, chosen):
    if not isinstance(chosen, WeightConfig):
        raise TypeError(
            f"The configuration of layer '{name}' must be a `WeightConfig`. "
            f"Received: {described(chosen)}."
        )
    if (chosen.mode, chosen.vectors) != ("product", "inputs"):
        raise ValueError(
            f"The configuration of layer '{name}' must be of mode='product' "
            f"with vectors='inputs'. Received: mode='{chosen.mode}', "
            f"vectors='{chosen.vectors}'."
        )
    if type(layer) not in CORRECTED or getattr(layer, "groups", 1) != 1:
        raise ValueError(
            f"Layer '{name}' must be a Conv2D with one group or a Dense, for "
            "which the error of the output can be corrected. Received: "
            f"{described(layer)}. Use `ops.product_quantization` for others."
        )
