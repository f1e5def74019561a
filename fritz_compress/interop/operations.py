"""Raw operations of a functional graph, in Keras 3 and in tf_keras.

Only names and numbers are handled here, so tf_keras is not needed.
"""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from keras import ops

from fritz_compress.graph import Node

# A layer of tf_keras and its arguments, or a function of its tensors.
Step = tuple[str, dict[str, Any]] | Callable[..., Any]

_ARITHMETIC = {
    "Add": operator.add,
    "Divide": operator.truediv,
    "GetItem": operator.getitem,
    "Matmul": operator.matmul,
    "Multiply": operator.mul,
    "Negative": operator.neg,
    "Power": operator.pow,
    "Subtract": operator.sub,
    "TrueDivide": operator.truediv,
}
_MERGES = {"Add", "Maximum", "Minimum", "Multiply", "Subtract"}
_ACTIVATIONS = {
    "Elu": lambda operation: ("ELU", {"alpha": float(operation.alpha)}),
    "LeakyRelu": lambda operation: (
        "LeakyReLU",
        {"alpha": float(operation.negative_slope)},
    ),
    "Relu": lambda operation: ("ReLU", {}),
    "Relu6": lambda operation: ("ReLU", {"max_value": 6.0}),
    "Selu": lambda operation: ("Activation", {"activation": "selu"}),
    "Sigmoid": lambda operation: ("Activation", {"activation": "sigmoid"}),
    "Silu": lambda operation: ("Activation", {"activation": "swish"}),
    "Softmax": lambda operation: ("Softmax", {"axis": operation.axis}),
    "Softplus": lambda operation: ("Activation", {"activation": "softplus"}),
    "Tanh": lambda operation: ("Activation", {"activation": "tanh"}),
}
_POOLING = {"Max": "GlobalMaxPooling", "Mean": "GlobalAveragePooling"}

_FROM_TF_KERAS = {
    "__operators__.add": ops.add,
    "__operators__.getitem": operator.getitem,
    "linalg.matmul": ops.matmul,
    "math.add": ops.add,
    "math.divide": ops.divide,
    "math.maximum": ops.maximum,
    "math.minimum": ops.minimum,
    "math.multiply": ops.multiply,
    "math.negative": ops.negative,
    "math.pow": ops.power,
    "math.subtract": ops.subtract,
    "math.truediv": ops.true_divide,
    "nn.relu": ops.relu,
    "nn.relu6": ops.relu6,
    "nn.sigmoid": ops.sigmoid,
    "nn.tanh": ops.tanh,
}


def to_tf_keras_step(node: Node) -> Step:
    """What computes a raw operation of Keras 3 in tf_keras.

    Raises:
        ValueError: if nothing does.
    """
    kind, operation = node.kind, node.operation
    if kind in _ACTIVATIONS:
        return _ACTIVATIONS[kind](operation)
    if kind == "Concatenate":
        return kind, {"axis": operation.axis}
    if kind in _MERGES and _are_alike(node):
        return kind, {}
    if kind in _ARITHMETIC:
        return _ARITHMETIC[kind]
    movement = _movement(node) or _pooling(node)
    if movement is None:
        known = {*_ARITHMETIC, *_ACTIVATIONS, *_MERGES, *_POOLING}
        known |= {"Concatenate", "Reshape", "Transpose"}
        raise ValueError(
            f"Operation '{operation.name}' must be one that tf_keras has as a "
            f"layer or an operator: {', '.join(sorted(known))}, where axis 0 "
            "stays the batch, maxima and minima are of two tensors of one "
            "rank, and means are over all axes between batch and channels. "
            f"Received: {kind}. Write it with layers."
        )
    return movement


def from_tf_keras_operation(
    function: str, args: tuple, kwargs: Mapping[str, Any]
) -> Any:
    """Calls the `keras.ops` counterpart of a tf_keras operation layer.

    Args:
        function: What tf_keras calls it, such as `"math.multiply"`, checked
            by `check_tf_keras_function`.
        args, kwargs: What it is called with, Keras 3 tensors among it.
    """
    if function == "__operators__.getitem":
        return operator.getitem(*args, _slices(kwargs["slice_spec"]))
    values = [*args, *(v for v in kwargs.values() if v is not None)]
    dtype = next(v.dtype for v in values if hasattr(v, "dtype"))
    # Constant arrays are lists in a configuration.
    values = [
        np.asarray(value, dtype) if isinstance(value, list) else value
        for value in values
    ]
    return _FROM_TF_KERAS[function](*values)


def check_tf_keras_function(function: str, name: str) -> None:
    """Raises a ValueError if no counterpart in `keras.ops` is known."""
    if function not in _FROM_TF_KERAS:
        raise ValueError(
            f"Operation '{name}' must be one of "
            f"{', '.join(sorted(_FROM_TF_KERAS))}. Received: {function}. "
            "Write it with layers."
        )


def _are_alike(node):
    """Two tensors of one rank, for which layers broadcast as NumPy does."""
    ranks = {len(tensor.shape) for tensor in node.inputs}
    return len(node.inputs) == 2 and len(ranks) == 1


def _movement(node):
    if node.kind == "Reshape":
        (tensor,) = node.inputs
        batch, *shape = node.operation.newshape
        sizes = tensor.shape[1:]
        if batch == -1 and None not in sizes and min(shape, default=0) > 0:
            if math.prod(shape) == math.prod(sizes):
                return "Reshape", {"target_shape": tuple(shape)}
    if node.kind == "Transpose":
        axes = node.operation.axes
        if axes is not None and axes[0] == 0:
            return "Permute", {"dims": tuple(axes[1:])}
    return None


def _pooling(node):
    if node.kind not in _POOLING:
        return None
    rank = len(node.inputs[0].shape)
    axes = node.operation.axis
    axes = (axes,) if isinstance(axes, int) else axes
    if rank not in (3, 4, 5) or axes is None:
        return None
    if sorted(axis % rank for axis in axes) != list(range(1, rank - 1)):
        return None
    keep = bool(node.operation.keepdims)
    return f"{_POOLING[node.kind]}{rank - 2}D", {"keepdims": keep}


def _slices(entries):
    def entry(value):
        if isinstance(value, Mapping):
            return slice(value["start"], value["stop"], value["step"])
        return value

    if isinstance(entries, (list, tuple)):
        return tuple(entry(value) for value in entries)
    return entry(entries)
