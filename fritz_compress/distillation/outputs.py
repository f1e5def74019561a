"""Whether a model returns logits or probabilities."""

import keras
from keras import layers

from fritz_compress.checks import described
from fritz_compress.graph import is_graph, trace

# They change nothing about what the numbers mean.
_VIEWS = (
    layers.ActivityRegularization,
    layers.Flatten,
    layers.Identity,
    layers.Reshape,
)


def gives_logits(model: keras.Model) -> tuple[bool, ...]:
    """Whether each output of a model is logits, by the layer that makes it.

    A softmax, as a layer or as the activation of one, makes probabilities.

    Raises:
        ValueError: for a model without a graph, and for one that ends in a
            sigmoid, whose classes do not exclude each other.
    """
    if not is_graph(model):
        raise ValueError(
            "The layers of a model tell whether its outputs are logits. "
            f"Received: {described(model)}, which has no graph. Say "
            "`from_logits=True` or `from_logits=False`."
        )
    graph = trace(model)
    makers = {tensor: node for node in graph.nodes for tensor in node.outputs}
    return tuple(_is_logits(model, t, makers) for t in graph.output_tensors)


def _is_logits(model, tensor, makers):
    node = makers.get(tensor)
    if node is None:
        return True
    function = _function(node.operation)
    if function in ("linear", None) and isinstance(
        node.operation, (*_VIEWS, layers.Activation)
    ):
        return _is_logits(model, node.inputs[0], makers)
    if function == "sigmoid":
        raise ValueError(
            "Soft targets are for classes of which one is right. Received: "
            f"model '{model.name}', whose layer '{node.operation.name}' ends "
            "in a sigmoid. Use `keras.distillation.FeatureDistillation` with "
            "loss='binary_crossentropy', or an output for each class."
        )
    return function != "softmax"


def _function(operation):
    """Name of the activation that a layer or operation ends in, if any."""
    if isinstance(operation, layers.Softmax):
        return "softmax"
    if not isinstance(operation, keras.Layer):
        return type(operation).__name__.lower()
    activation = getattr(operation, "activation", None)
    if isinstance(activation, keras.Layer):
        return _function(activation)
    return getattr(activation, "__name__", None)
