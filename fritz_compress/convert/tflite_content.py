"""The bytes of a `.tflite` file, from the graph of a model."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from fritz_compress import graph as graphs
from fritz_compress.convert import (
    binary_kernels,
    export,
    flatbuffer,
    flatbuffer_codes,
    float_head,
    leveling,
    tflite_aware,
)
from fritz_compress.convert.errors import ConversionError
from fritz_compress.layers import ActivationRange
from fritz_compress.silence import silenced

# What the quantization of a model is called that says itself which integers.
SIMULATED = "with simulated integers"
# Integer kinds and the sets of operations of `tf.lite.OpsSet` they use.
INTEGER = {
    "int8": "TFLITE_BUILTINS_INT8",
    "int16x8": "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
}


@dataclasses.dataclass(frozen=True)
class Content:
    """A file that is not written yet.

    Attributes:
        data: Its bytes.
        constants: What each node with weights has stored in it.
        notes: For some nodes, why their codes are not in it.
    """

    data: bytes
    constants: Mapping[graphs.Node, list[flatbuffer.Constant]]
    notes: Mapping[graphs.Node, list[str]]


def content_of(
    traced: graphs.Graph, quantization: str | None, data: np.ndarray | None
) -> Content:
    """Converts a graph.

    Args:
        traced: A graph traced with every axis known.
        quantization: As for `to_tflite`, or `SIMULATED`.
        data: Typical inputs for the integer kinds, else `None`.

    Raises:
        ConversionError: if a layer cannot be written.
    """
    head, body = None, traced
    if data is not None:
        head, body = float_head.split(traced)
    if head is not None:
        data = float_head.standardized(head, data)
    model = _model_of(body, quantization, data)
    layers = {
        i: node.operation
        for i, node in enumerate(body.nodes)
        if own_weights(node)
    }
    notes = _rewritten(model, body, layers, quantization)
    constants = flatbuffer.constants_of_nodes(model, layers)
    if head is not None:
        integers, model = model, _model_of(head, None, None)
        flatbuffer.join(model, integers)
    flatbuffer.strip(model, traced.model.inputs[0].name, _output_name(traced))
    return Content(
        flatbuffer.write(model),
        {body.nodes[i]: found for i, found in constants.items()},
        {body.nodes[i]: found for i, found in notes.items()},
    )


def own_weights(node: graphs.Node) -> list[Any]:
    """The weights of a node that a file has to hold."""
    if isinstance(node.operation, ActivationRange):
        return []  # Its numbers are the scales of the file.
    return getattr(node.operation, "weights", [])


def _rewritten(model, traced, layers, quantization):
    """Changes what the converter made, in place; returns notes by node."""
    if quantization == SIMULATED:
        tflite_aware.set_channel_scales(model, traced)
        flatbuffer.widen_biases(model)
    if quantization not in ("dynamic", "weights"):
        return {}
    hybrid = quantization == "dynamic"
    if hybrid:
        flatbuffer.quantize_convolutions(model)
    notes = flatbuffer_codes.store_codes(model, layers, hybrid)
    if not hybrid:
        flatbuffer_codes.quantize_kernels(model, layers)
    return notes


def _model_of(traced, quantization, data):
    """What the converter makes of a graph."""
    forms = export.forms_of(traced, quantization)
    forms |= tflite_aware.forms_of(traced)
    forms |= binary_kernels.forms_of(traced)
    if data is not None:
        forms |= leveling.leveled_forms(traced, data)
    with silenced():
        function = export.frozen_function(traced, forms)
        return flatbuffer.read(
            _run_converter(traced, function, quantization, data)
        )


def _output_name(traced):
    """Name of the layer that makes the output; the input's if none does."""
    (output,) = traced.output_tensors
    for node in traced.nodes:
        if output in node.outputs:
            return node.operation.name
    return traced.model.inputs[0].name


def _run_converter(traced, function, quantization, data):
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    if quantization not in (None, "weights"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization in INTEGER:
        converter.representative_dataset = lambda: (
            [sample[np.newaxis]] for sample in data
        )
        converter.target_spec.supported_ops = [
            getattr(tf.lite.OpsSet, INTEGER[quantization])
        ]
    try:
        return converter.convert()
    except Exception as error:  # The converter has no common class of errors.
        node = export.blamed_node(traced, function, str(error))
        if node is not None:
            raise export.cannot_convert(node, error) from error
        raise ConversionError(
            f"Model '{traced.model.name}' cannot be converted to TFLite with "
            f"quantization={quantization!r}: {export.reason_of(error)}"
        ) from error
