"""A model whose layers of signs compute with 64 signs at once."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fritz_compress.binarization.packed_chains import fuse
from fritz_compress.binarization.packed_layers import PackedLayer, why_floats
from fritz_compress.binarization.packed_table import (
    PackedRow,
    as_text,
    bytes_of,
)
from fritz_compress.checks import check_count, check_model
from fritz_compress.graph import trace
from fritz_compress.layers.binary_kernel import BinaryKernel
from fritz_compress.ops.binary_products import Threads


class PackedModel:
    """Predicts with the bits of a binary model, exactly what it predicts.

    Layers whose kernel and inputs are signs hold a bit per weight, in words
    of 64 channels, and count the bits that differ; sums are whole numbers.
    What lies between two such layers, normalization and maxima included,
    becomes a comparison of these sums, wherever nothing else reads it. All
    else runs as the Keras layers that there are, one by one. So every number
    is that of `model(x, training=False)`, bit for bit (`model.predict`
    compiles the whole, and may round otherwise).

    Latent weights will do, and those of `convert_to_binary` as well; a
    `.fcz` file of the latter is the packed file, with a bit per weight:

    >>> fc.save_compressed(fc.convert_to_binary(model), "model.fcz")
    >>> packed = PackedModel(fc.load_compressed("model.fcz"))

    Kernels and thresholds are those of the model when this is made. Layers
    with groups, channels first or few bits in place of signs run in floats,
    depthwise ones too; `floats` says why. The first prediction compiles the
    loops, which takes some seconds. In residual networks every second
    normalization becomes comparisons of floats; layers that scale by the
    magnitude of their inputs (`layers.XnorConv2D`) need them as floats, and
    what is before and after stays float.

    Speed: `tests/benchmarks/packed_convolution.csv`. Channels that do not
    fill words, few filters, and the float parts, which run one after the
    other, are what makes a network slower than `.tflite`.

    Args:
        model: A Functional or built Sequential model with binary layers.
        threads: Of the packed layers; the backend has its own for the rest.

    Attributes:
        packed: Names of the layers that are computed from bits.
        fused: Names of those that became comparisons.
        floats: All others by name, with the reason.

    Raises:
        TypeError: for what is no model, or `threads` that is no whole number.
        ValueError: for a model without a graph or a layer that can be packed,
            or `threads` below 1.
    """

    def __init__(self, model: keras.Model, threads: int = 1):
        check_model(model)
        self._threads = Threads(check_count("threads", threads))
        self._graph = trace(model)
        reasons = {node: why_floats(node) for node in self._graph.nodes}
        packed = {
            node: PackedLayer(node)
            for node, reason in reasons.items()
            if reason is None
        }
        if not packed:
            raise ValueError(_nothing_packed(model, reasons))
        self._packed = packed
        self._fused = fuse(self._graph, packed)
        self.packed = _names(packed)
        self.fused = _names(self._fused)
        self.floats = {
            node.operation.name: reason
            for node, reason in reasons.items()
            if node not in packed and node not in self._fused
        }

    def predict(self, x: Any, batch_size: int = 32) -> Any:
        """What the model predicts, arrays in its structure.

        Args:
            x: An array; or a list of arrays, or a mapping by the names of
                the inputs, for several.
            batch_size: Samples that are computed at once.

        Raises:
            TypeError, ValueError: for `batch_size` that is no whole number
                above 0, another number of inputs than the model's, or one of
                another shape.
        """
        check_count("batch_size", batch_size)
        inputs = self._checked(x)
        results = [
            self._batch([values[i : i + batch_size] for values in inputs])
            for i in range(0, len(inputs[0]), batch_size)
        ]
        return tree.map_structure(
            lambda *parts: np.concatenate(parts), *results
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all weights that it computes with: words, limits, floats.

        Those of the model stay in memory beside, as long as it does.
        """
        return sum(row.nbytes for row in self._rows())

    def __str__(self) -> str:
        return as_text(self._rows())

    def _rows(self):
        """A row per layer; weights count where they are read first."""
        counted = set()
        for node in self._graph.nodes:
            name, nbytes = node.operation.name, 0
            if node in self._packed:
                how, note = "bits", ""
                nbytes = self._packed[node].nbytes
            elif node in self._fused:
                how, note = "comparison", ""
            else:
                how, note = "floats", self.floats[name]
                weights = getattr(node.operation, "weights", ())
                new = [w for w in weights if id(w) not in counted]
                counted.update(map(id, new))
                nbytes = sum(bytes_of(weight) for weight in new)
            yield PackedRow(name, node.kind, how, nbytes, note)

    def _batch(self, inputs):
        tensors = map(ops.convert_to_tensor, inputs)
        outputs = self._graph.run(list(tensors), self._call)
        return tree.map_structure(ops.convert_to_numpy, outputs)

    def _call(self, node, *args, **kwargs):
        if node in self._packed:
            return self._packed[node](_first(args, kwargs), self._threads)
        if node in self._fused:
            return self._fused[node](_first(args, kwargs))
        if "training" in kwargs:
            kwargs["training"] = False
        return node.operation(*args, **kwargs)

    def _checked(self, x):
        """Arrays of the inputs' types, in the order of the model's inputs."""
        model = self._graph.model
        if isinstance(x, Mapping):
            x = [x[t.name] for t in model.inputs if t.name in x]
        elif not isinstance(x, (list, tuple)):
            x = [x]
        if len(x) != len(model.inputs):
            names = ", ".join(f"'{tensor.name}'" for tensor in model.inputs)
            raise ValueError(
                f"Model '{model.name}' has {len(model.inputs)} inputs, {names}."
                f" Received: {len(x)}. Pass an array for each, in a list or "
                "by name."
            )
        arrays = [
            _fitting(values, tensor) for values, tensor in zip(x, model.inputs)
        ]
        counts = [len(array) for array in arrays]
        if not counts[0] or len(set(counts)) > 1:
            raise ValueError(
                f"Model '{model.name}' needs a sample or more, as many for "
                f"each input. Received: {counts} samples."
            )
        return arrays


def _fitting(values, tensor):
    """An array of the type of an input, if it has the shape."""
    values = np.asarray(values, keras.backend.standardize_dtype(tensor.dtype))
    shape = tuple(tensor.shape)
    if len(values.shape) != len(shape) or any(
        want not in (None, size) for want, size in zip(shape, values.shape)
    ):
        raise ValueError(
            f"Input '{tensor.name}' must have the shape {shape}. Received: "
            f"an array of the shape {values.shape}."
        )
    return values


def _first(args, kwargs):
    return args[0] if args else kwargs["inputs"]


def _names(nodes):
    return tuple(dict.fromkeys(node.operation.name for node in nodes))


def _nothing_packed(model, reasons):
    binary = {
        node.operation.name: reason
        for node, reason in reasons.items()
        if isinstance(node.operation, BinaryKernel)
    }
    if not binary:
        return (
            f"Model '{model.name}' has no binary layer to compute from bits. "
            "Make them of its layers first, with `fc.binarize`."
        )
    name, reason = next(iter(binary.items()))
    return (
        f"Model '{model.name}' has no layer that can be computed from bits. "
        f"Received: {len(binary)} binary layers; of the first, '{name}': "
        f"{reason}. Kernels and inputs must be signs: kernel_quantizer="
        "'ste_sign' and input_quantizer='ste_sign', for example."
    )
