"""Runs a Core ML neural network (`.mlmodel`) without Apple's runtime.

Written from the comments in Core ML's specification, NeuralNetwork.proto, and
on purpose without a line of the code that writes the file. Only what the
specification calls the rank 5 mapping is known: values are `[sequence, batch,
channels, height, width]`; the sequence axis is always 1 and left out here.
https://github.com/apple/coremltools/blob/main/mlmodel/format/NeuralNetwork.proto
"""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fritz_compress.convert import neural_network_layers as layers
from fritz_compress.convert.channels_first import as_batch
from fritz_compress.convert.errors import ConversionError
from fritz_compress.silence import silenced


def _deprocess_stylized_image(x):
    return (x + 1.0) * 127.5


CUSTOM_LAYERS = {"DeprocessStylizedImage": _deprocess_stylized_image}


class NeuralNetwork:
    """A Core ML neural network that can be called.

    Computes in float32 on TensorFlow. A phone computes in float16, and rounds
    and clips a picture that it returns to 8 bits: neither is done here.

    Attributes:
        input_shape: Shape of the input, channels last, `None` for the batch:
            `(None, height, width, channels)` or `(None, features)`.

    Call arguments:
        inputs: float32 array of that shape; pictures have values in
            `[0, 255]`. Samples run one by one, as on a phone.

    Returns: float32 array `(batch, height, width, channels)` or `(batch,
    features)`.
    """

    def __init__(
        self,
        spec: Any,
        custom_layers: Mapping[str, Callable[..., Any]] | None = None,
    ):
        _check(spec)
        self._spec = spec
        self._custom_layers = {**CUSTOM_LAYERS, **(custom_layers or {})}
        (self._input,), (self._output,) = (
            spec.description.input,
            spec.description.output,
        )
        self.input_shape = (None, *_shape(self._input))

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        inputs = as_batch(inputs, self.input_shape)
        return np.concatenate([self._run(sample[None]) for sample in inputs])

    def _run(self, inputs):
        network = self._spec.neuralNetwork
        x = _to_channels_first(inputs)
        for step in network.preprocessing:
            x = _preprocess(step, x)
        blobs = {self._input.name: x}
        for layer in network.layers:
            values = [blobs[name] for name in layer.input]
            blobs[layer.output[0]] = self._run_layer(layer, values)
        return self._result(blobs[self._output.name])

    def _run_layer(self, layer, values):
        kind = layer.WhichOneof("layer")
        if kind == "custom":
            return self._run_custom(layer, values)
        if kind not in layers.LAYERS:
            raise ConversionError(
                f"Layer '{layer.name}': a Core ML layer of kind '{kind}' is "
                "not known to this interpreter."
            )
        try:
            return np.asarray(
                layers.LAYERS[kind](getattr(layer, kind), *values), "float32"
            )
        except ConversionError as error:
            raise ConversionError(f"Layer '{layer.name}': {error}") from error

    def _run_custom(self, layer, values):
        name = layer.custom.className
        if name not in self._custom_layers:
            raise ConversionError(
                f"Layer '{layer.name}' is a custom layer of class '{name}'. "
                f"Pass custom_layers={{'{name}': function}}."
            )
        inputs = [_to_channels_last(value) for value in values]
        result = self._custom_layers[name](*inputs)
        return _to_channels_first(np.asarray(result, "float32"))

    def _result(self, value):
        shape = _shape(self._output)
        result = _to_channels_last(value)
        if len(shape) == 1 and result.shape[1:3] == (1, 1):
            result = result[:, 0, 0, :]
        if result.shape[1:] != shape:
            raise ConversionError(
                f"Output '{self._output.name}' is described as {shape}, the "
                f"layers make {result.shape[1:]}."
            )
        return result


@silenced()
def load(
    path_or_spec: str | os.PathLike | Any,
    custom_layers: Mapping[str, Callable[..., Any]] | None = None,
) -> NeuralNetwork:
    """Reads a `.mlmodel` for running.

    Args:
        path_or_spec: A file, or a `Model` message in memory.
        custom_layers: Functions by class name for the custom layers in the
            file. Each takes and returns arrays with channels last.
            `DeprocessStylizedImage` is known.

    Raises:
        ConversionError: if the file is not a neural network in the rank 5
            mapping with one input and one output.

    Example:

    >>> network = load("starry_night.mlmodel")
    >>> network(photos).shape
    (2, 256, 256, 3)
    """
    if not isinstance(path_or_spec, (str, os.PathLike)):
        return NeuralNetwork(path_or_spec, custom_layers)
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    path = pathlib.Path(path_or_spec)
    try:
        spec = Model_pb2.Model.FromString(path.read_bytes())
    except DecodeError as error:
        raise ConversionError(f"'{path}' is no Core ML model.") from error
    return NeuralNetwork(spec, custom_layers)


def _check(spec):
    kind = spec.WhichOneof("Type")
    if kind != "neuralNetwork":
        raise ConversionError(
            "Expected a Core ML neural network, the usual content of a "
            f".mlmodel. Received: {kind or 'an empty model'}."
        )
    network = spec.neuralNetwork
    if network.arrayInputShapeMapping or network.imageInputShapeMapping:
        raise ConversionError("Only the rank 5 shape mapping is known.")
    ends = len(spec.description.input), len(spec.description.output)
    if ends != (1, 1):
        raise ConversionError(
            f"Expected one input and one output. Received: {ends}."
        )


def _shape(feature):
    """Shape of an input or output, channels last, without batch."""
    kind = feature.type.WhichOneof("Type")
    if kind == "imageType":
        picture = feature.type.imageType
        # ColorSpace: GRAYSCALE = 10, RGB = 20, BGR = 30.
        if picture.colorSpace != 20:
            raise ConversionError(f"Picture '{feature.name}' is not RGB.")
        return (picture.height, picture.width, 3)
    shape = tuple(feature.type.multiArrayType.shape)
    if kind != "multiArrayType" or len(shape) not in (1, 3):
        raise ConversionError(
            f"'{feature.name}' must be a picture or an array of one or three "
            f"axes. Received: {kind} of shape {shape}."
        )
    return (*shape[1:], shape[0])


def _preprocess(step, x):
    """`Y = channelScale * X + bias`, the biases in the order of the colors."""
    if step.WhichOneof("preprocessor") != "scaler":
        raise ConversionError("Only the scaler is known as preprocessing.")
    scaler = step.scaler
    biases = [scaler.redBias, scaler.greenBias, scaler.blueBias]
    return x * np.float32(scaler.channelScale) + np.float32(
        np.reshape(biases, (3, 1, 1))
    )


def _to_channels_first(x):
    if x.ndim == 2:
        return x[:, :, None, None]
    return np.transpose(x, (0, 3, 1, 2))


def _to_channels_last(x):
    return np.transpose(x, (0, 2, 3, 1))
