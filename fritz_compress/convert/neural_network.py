"""A Keras model as a Core ML neural network, the content of a `.mlmodel`.

Built layer by layer with coremltools' NeuralNetworkBuilder: its own converter
refuses models of Keras 3 files, writes long names and cannot make a layer a
custom one. The rules for each class are in `neural_network_rules`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from fritz_compress import graph as graphs
from fritz_compress.convert import neural_network_rules as rules
from fritz_compress.convert.dense_kernels import traced_for_files
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.names import short_names
from fritz_compress.convert.neural_network_rules.common import channels_first
from fritz_compress.convert.samples import input_shape
from fritz_compress.silence import silenced


@dataclasses.dataclass(frozen=True)
class Network:
    """A specification and where its layers come from.

    Attributes:
        spec: `coremltools.proto.Model_pb2.Model` with float32 weights.
        owners: The Keras layer that each layer of the specification is a part
            of, by the name in the specification.
    """

    spec: Any
    owners: dict[str, keras.Operation]


@silenced()
def build_network(
    model: keras.Model,
    image_size: tuple[int, int] | None = None,
    image_input: bool | None = None,
    image_output: bool | None = None,
    output_name: str = "output",
    custom_layers: Sequence[str] = (),
) -> Network:
    """Writes a model as a Core ML neural network with float32 weights.

    Blobs and layers get names of a letter or two, which saves up to a
    kilobyte in a small file; `Network.owners` tells what they are.

    Args:
        model: A Functional or built Sequential model with one input and one
            output, of shape `(batch, height, width, channels)` or `(batch,
            features)`.
        image_size: `(height, width)` where the model leaves them open.
        image_input: Whether the phone passes a picture (RGB, values in
            `[0, 255]`) in place of an array of shape `(channels, height,
            width)`. By default if the model turns pictures of three channels
            into such pictures.
        image_output: The same for what it gets back.
        output_name: Name of the output. The input has its name in the model.
        custom_layers: Classes of layers without weights to write as Core ML
            custom layers, which the app must implement in a class of the same
            name. `DeprocessStylizedImage` is a scale unless named here.

    Raises:
        ConversionError: for a layer that the format or this package does not
            know; the error names it.
        ValueError: for a model without a graph, with several inputs or
            outputs, or of unknown size.

    Example:

    >>> network = build_network(model, custom_layers=["DeprocessStylizedImage"])
    >>> network.spec.neuralNetwork.layers[-1].custom.className
    'DeprocessStylizedImage'
    """
    graph = traced_for_files(model, [input_shape(model, image_size)])
    (source,), target = graph.inputs, _only_output(graph)
    _check_custom_layers(graph, custom_layers)
    rules.check_shapes(graph.nodes)
    pictures = all(_is_picture(tensor) for tensor in (source, target))
    image_input = pictures if image_input is None else image_input
    image_output = pictures if image_output is None else image_output
    names = (model.inputs[0].name, output_name)
    if names[0] == names[1]:
        raise ValueError(
            "The input and the output need different names. Received: "
            f"output_name={output_name!r}, which is the name of the input."
        )
    writer = NetworkWriter(source, target, names, custom_layers)
    writer.write(graph)
    for tensor, feature, wanted in (
        (source, writer.spec.description.input[0], image_input),
        (target, writer.spec.description.output[0], image_output),
    ):
        if wanted:
            _make_picture(feature, tensor, model.name)
    return Network(writer.spec, writer.owners)


class NetworkWriter:
    """The network under construction, as the rules see it.

    Attributes:
        builder: `coremltools` NeuralNetworkBuilder to add layers with.
        custom_layers: Classes to write as custom layers.
        owners: See `Network`.
    """

    def __init__(self, source, target, names, custom_layers):
        from coremltools.models import datatypes
        from coremltools.models.neural_network import NeuralNetworkBuilder

        features = [
            [(name, datatypes.Array(*channels_first(tensor.shape, name)))]
            for name, tensor in zip(names, (source, target))
        ]
        self.builder = NeuralNetworkBuilder(*features, use_float_arraytype=True)
        self.custom_layers = frozenset(custom_layers)
        self.owners: dict[str, keras.Operation] = {}
        self._names = dict(zip((source, target), names))
        self._node: graphs.Node | None = None
        self._free_blobs = short_names(taken=names)
        self._free_layers = short_names()

    @property
    def spec(self):
        """The specification as far as it is written."""
        return self.builder.spec

    def blob(self) -> str:
        """A new name for a value between two layers of the specification."""
        return next(self._free_blobs)

    def layer(self) -> str:
        """A new name for a layer of the specification."""
        name = next(self._free_layers)
        self.owners[name] = self._node.operation
        return name

    def write(self, graph: graphs.Graph) -> None:
        """Writes all nodes of a graph."""
        target = graph.output_tensors[0]
        same = {}
        for node in graph.nodes:
            # What only matters in training leaves no trace in the file.
            if rules.is_identity(node) and node.outputs[0] is not target:
                same[node.outputs[0]] = same.get(node.inputs[0], node.inputs[0])
                continue
            self._node = node
            sources = [self._name(same.get(t, t)) for t in node.inputs]
            rules.write(self, node, sources, self._name(node.outputs[0]))

    def _name(self, tensor):
        if tensor not in self._names:
            self._names[tensor] = self.blob()
        return self._names[tensor]


def _only_output(graph):
    if len(graph.output_tensors) != 1:
        raise ValueError(
            "Only models with one output can be converted. Received: model "
            f"'{graph.model.name}' with {len(graph.output_tensors)} outputs. "
            "Make a `keras.Model` of one of them."
        )
    target = graph.output_tensors[0]
    if not any(target in node.outputs for node in graph.nodes):
        raise ConversionError(
            f"Model '{graph.model.name}' has no layer between its input and "
            "its output."
        )
    return target


def _check_custom_layers(graph, custom_layers):
    kinds = {node.kind for node in graph.nodes}
    for kind in custom_layers:
        if kind not in kinds:
            raise ValueError(
                "`custom_layers` must name classes of layers in the model. "
                f"Received: '{kind}'; model '{graph.model.name}' has "
                f"{', '.join(sorted(kinds))}."
            )


def _is_picture(tensor):
    return len(tensor.shape) == 4 and tensor.shape[-1] == 3


def _make_picture(feature, tensor, model):
    from coremltools.proto import FeatureTypes_pb2

    if not _is_picture(tensor):
        raise ValueError(
            "A picture has the shape (batch, height, width, 3). Received: "
            f"shape {tuple(tensor.shape)} as '{feature.name}' of model "
            f"'{model}'. Pass image_input=False or image_output=False."
        )
    picture = feature.type.imageType  # Takes the place of the array type.
    picture.height, picture.width = tensor.shape[1:3]
    picture.colorSpace = FeatureTypes_pb2.ImageFeatureType.RGB
