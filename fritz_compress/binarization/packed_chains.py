"""What lies between two layers of signs, made a comparison of their sums."""

from typing import Any

import keras
from keras import layers, ops

from fritz_compress.binarization.packed_layers import PackedLayer
from fritz_compress.binarization.thresholds import (
    limits_of_floats,
    limits_of_sums,
)
from fritz_compress.graph import Graph, Node
from fritz_compress.ops import binary_products

_BETWEEN = (
    layers.BatchNormalization,
    layers.MaxPooling2D,
    layers.Flatten,
    layers.Dropout,
    layers.Identity,
)


def fuse(graph: Graph, packed: dict[Node, PackedLayer]) -> dict[Node, Any]:
    """Makes layers before a sign limits of what they are called with.

    Sums of a layer of signs that only reach another one, through
    normalization and maxima, become signs at once: limits of the sums are
    entered in its `PackedLayer`. Where other numbers come, only the
    normalization just before the sign becomes limits, of these numbers.
    Layers that scale by their inputs read them as they are.

    Args:
        graph: The calls of a model.
        packed: Those that are computed from words; changed.

    Returns: what to call in place of the operations of other nodes.
    """
    return {
        node: step
        for consumer, layer in packed.items()
        if not layer.scales_by_inputs
        for node, step in _Chain(graph, packed, consumer).fused().items()
    }


class _Chain:
    """Calls before a layer of signs whose results nothing else reads.

    Attributes:
        nodes: In their order, the last one just before the layer. All but
            the first are of a kind that may become limits.
    """

    def __init__(self, graph, packed, consumer):
        self.layer = packed[consumer]
        self.packed = packed
        self.nodes = []
        makers = {t: node for node in graph.nodes for t in node.outputs}
        readers = graph.consumers()
        node = consumer
        while node is consumer or _is_between(node):
            (tensor,) = node.inputs
            read_by_others = len(readers[tensor]) > 1
            if (
                tensor not in makers
                or read_by_others
                or tensor in graph.output_tensors
            ):
                break
            node = makers[tensor]
            self.nodes.insert(0, node)

    def fused(self):
        """What takes the place of its operations; limits are entered."""
        first = self.nodes[0] if self.nodes else None
        if first in self.packed and self._leaves_signs(first):
            return self._fused_sums(*self.nodes)
        return self._fused_normalization()

    def _leaves_signs(self, first):
        """Whether limits of sums make the signs that arrive at the layer."""
        source = self.packed[first]
        if source.scales_by_inputs or not _is_linear(source.layer):
            return False
        if any(_is_flatten(node) for node in self.nodes[:-1]):
            return False
        found = limits_of_sums(
            self._evaluated, source.products, source.kernel.shape[-1]
        )
        if found is not None:
            source.sum_limits, self.falling = found
        return found is not None

    def _evaluated(self, sums):
        """Numbers before each maximum, and signs, for sums of any number."""
        first, *nodes = self.nodes
        places = [1] * (len(first.outputs[0].shape) - 2)
        source = self.packed[first]
        values = ops.convert_to_tensor(
            sums.reshape(len(sums), *places, sums.shape[1])
        )
        values = source.layer.of_sums(values, source.scale, None)
        for node in nodes:
            if _is_maximum(node):
                yield values
            elif not _is_flatten(node):
                values = node.operation(values, training=False)
        yield self.layer.layer.quantized_inputs(values)

    def _fused_sums(self, first, *nodes):
        self.layer.input_limits = None
        steps = dict.fromkeys(nodes, _unchanged)
        maxima = filter(_is_maximum, nodes)
        for node, falling in zip(maxima, self.falling):
            steps[node] = _maximum_of_bits(node.operation, falling)
        if nodes and _is_flatten(nodes[-1]):
            self.layer.take_positions(nodes[-1].inputs[0].shape[1:])
        return steps

    def _fused_normalization(self):
        nodes = list(self.nodes)
        identities = []
        while nodes and isinstance(nodes[-1].operation, layers.Identity):
            identities.append(nodes.pop())
        last = nodes[-1] if nodes else None
        if last is None or not _is_between(last):
            return {}
        if type(last.operation) is not layers.BatchNormalization:
            return {}
        *places, channels = last.inputs[0].shape[1:]

        def signs(values):
            values = values.reshape(len(values), *[1] * len(places), channels)
            values = ops.convert_to_tensor(values)
            values = last.operation(values, training=False)
            levels = self.layer.layer.quantized_inputs(values)
            return ops.reshape(levels, (-1, channels))

        limits = limits_of_floats(signs, channels)
        if limits is None:
            return {}
        self.layer.input_limits = limits
        return dict.fromkeys([last, *identities], _unchanged)


def _is_between(node):
    layer = node.operation
    if type(layer) not in _BETWEEN or len(node.inputs) != 1:
        return False
    (tensor,) = node.inputs
    if {layer.compute_dtype, tensor.dtype} != {"float32"}:
        return False
    if isinstance(layer, layers.BatchNormalization):
        return layer.axis in (-1, len(tensor.shape) - 1)
    if isinstance(layer, layers.Flatten) and len(tensor.shape) != 4:
        return False
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def _is_linear(layer):
    return layer.activation in (None, keras.activations.linear)


def _is_maximum(node):
    return isinstance(node.operation, layers.MaxPooling2D)


def _is_flatten(node):
    return isinstance(node.operation, layers.Flatten)


def _unchanged(values):
    return values


def _maximum_of_bits(layer, falling):
    mask = binary_products.pack(falling.astype("int32"), 1, 1)

    def maximum(words):
        return binary_products.maximum(
            words, layer.pool_size, layer.strides, layer.padding, mask
        )

    return maximum
