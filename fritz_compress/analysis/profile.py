"""What each layer of a model costs."""

import csv
import dataclasses
import io
import math

import keras

from fritz_compress import graph


@dataclasses.dataclass(frozen=True)
class LayerProfile:
    """The cost of one layer, over all its calls.

    Attributes:
        name: Name of the layer.
        kind: Its class, such as `"Conv2D"`.
        output_shape: Shape of its (first) output, of its last call.
        parameters: Numbers in its weights, trainable or not.
        macs: Multiply-accumulates for one sample.
        bytes: Size of its weights as they are stored in memory.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int
    macs: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Profile:
    """The cost of each layer of a model. `str(profile)` is a table.

    Attributes:
        model: Name of the model.
        layers: One row per layer, in the order of their first calls.
    """

    model: str
    layers: tuple[LayerProfile, ...]

    @property
    def parameters(self) -> int:
        """Numbers in all weights, those of shared layers counted once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample."""
        return sum(layer.macs for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Size of all weights in memory."""
        return sum(layer.bytes for layer in self.layers)

    def to_csv(self) -> str:
        """The rows as comma-separated text, with a header, without totals."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_HEADER)
        for layer in self.layers:
            writer.writerow(
                [
                    layer.name,
                    layer.kind,
                    _shape(layer.output_shape),
                    layer.parameters,
                    layer.macs,
                    layer.bytes,
                ]
            )
        return text.getvalue()

    def __str__(self) -> str:
        rows = [
            (
                layer.name,
                layer.kind,
                _shape(layer.output_shape),
                f"{layer.parameters:,}",
                f"{layer.macs:,}",
                f"{layer.bytes:,}",
            )
            for layer in self.layers
        ]
        totals = (f"{n:,}" for n in (self.parameters, self.macs, self.bytes))
        return "\n".join(_aligned([_HEADER, *rows, ("total", "", "", *totals)]))


_HEADER = ("layer", "kind", "output", "parameters", "macs", "bytes")


def profile(
    model: keras.Model, input_size: tuple[int, ...] | None = None
) -> Profile:
    """Counts the parameters, operations and bytes of every layer.

    A multiply-accumulate (MAC) is one multiplication and one addition of a
    convolution or a dense layer. Biases, normalizations, activations and all
    other layers and operations (attention, `keras.ops.matmul`) count zero, as
    do layers inside other layers (`Bidirectional`, `TimeDistributed`). A
    shared layer counts its MACs at each call and its parameters once.

    Args:
        model: A Functional or built Sequential model, nested ones flattened.
        input_size: Spatial size in place of the model's, such as `(height,
            width)`; needed for a model that takes any size.

    Raises:
        ValueError: for a model without a graph, with several inputs if an
            `input_size` is given, or of any size without one.

    Example:

    >>> profile(keras.applications.VGG16(weights=None)).macs
    15470264320
    """
    traced = graph.trace(model, _input_shapes(model, input_size))
    rows: dict[keras.Operation, LayerProfile] = {}
    for node in traced.nodes:
        if not isinstance(node.operation, keras.Layer):
            continue
        before = rows.get(node.operation)
        rows[node.operation] = LayerProfile(
            name=node.operation.name,
            kind=node.kind,
            output_shape=node.outputs[0].shape,
            parameters=node.operation.count_params(),
            macs=macs_of(node) + (before.macs if before else 0),
            bytes=sum(map(_bytes, node.operation.weights)),
        )
    return Profile(model.name, tuple(rows.values()))


def macs_of(node: graph.Node) -> int:
    """Multiply-accumulates of one call on one sample.

    Raises:
        ValueError: if a spatial size is not known.
    """
    count = _MACS.get(_family(node.operation))
    if count is None:
        return 0
    shapes = [node.inputs[0].shape[1:], node.outputs[0].shape[1:]]
    if None in (*shapes[0], *shapes[1]):
        raise ValueError(
            f"Layer '{node.operation.name}' sees inputs of any size, shape "
            f"{node.inputs[0].shape}, and its multiply-accumulates depend on "
            "it. Pass `input_size=(height, width)`."
        )
    return count(node.operation, *map(math.prod, shapes))


def _convolution(layer, inputs, outputs):
    """Each output number is a sum over one filter (of its own group)."""
    return outputs * math.prod(layer.kernel.shape[:-1])


def _transposed(layer, inputs, outputs):
    """Each input number is multiplied with its part of every filter."""
    return inputs * math.prod(layer.kernel.shape[:-1])


def _depthwise(layer, inputs, outputs):
    return outputs * math.prod(layer.kernel.shape[:-2])


def _separable(layer, inputs, outputs):
    positions = outputs // layer.filters
    between = positions * math.prod(layer.depthwise_kernel.shape[-2:])
    spatial = math.prod(layer.depthwise_kernel.shape[:-2])
    return between * spatial + outputs * layer.pointwise_kernel.shape[-2]


def _dense(layer, inputs, outputs):
    return outputs * layer.kernel.shape[0]


_MACS = {
    keras.layers.Conv1D: _convolution,
    keras.layers.Conv2D: _convolution,
    keras.layers.Conv3D: _convolution,
    keras.layers.Conv1DTranspose: _transposed,
    keras.layers.Conv2DTranspose: _transposed,
    keras.layers.Conv3DTranspose: _transposed,
    keras.layers.DepthwiseConv1D: _depthwise,
    keras.layers.DepthwiseConv2D: _depthwise,
    keras.layers.SeparableConv1D: _separable,
    keras.layers.SeparableConv2D: _separable,
    keras.layers.Dense: _dense,
}


def _family(operation):
    """The class of `_MACS` that the operation is, subclasses included."""
    return next((k for k in type(operation).__mro__ if k in _MACS), None)


def _input_shapes(model, input_size):
    if input_size is None or not graph.is_graph(model):
        return None
    if len(model.inputs) != 1:
        raise ValueError(
            f"`input_size` is for models with one input. Received: model "
            f"'{model.name}' with {len(model.inputs)}. Build the model for "
            "the size."
        )
    batch, *spatial, channels = model.inputs[0].shape
    if len(spatial) != len(input_size):
        raise ValueError(
            f"`input_size` must have {len(spatial)} numbers for model "
            f"'{model.name}', input shape {model.inputs[0].shape}. Received: "
            f"{tuple(input_size)}."
        )
    return [(batch, *input_size, channels)]


def _bytes(weight):
    return keras.ops.convert_to_numpy(weight).nbytes


def _shape(shape):
    """`256x256x9`: without the batch."""
    return "x".join("?" if side is None else str(side) for side in shape[1:])


def _aligned(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [c.ljust(w) for c, w in zip(row[:3], widths[:3])]
        cells += [c.rjust(w) for c, w in zip(row[3:], widths[3:])]
        yield "  ".join(cells).rstrip()
