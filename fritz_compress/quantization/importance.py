"""How much an error in each number of a weight costs."""

from typing import Any

import keras
import numpy as np

from fritz_compress.checks import check_count, check_model
from fritz_compress.surgery.criteria.gradients import batch_gradients
from fritz_compress.surgery.criteria.samples import batches
from fritz_compress.surgery.names import every_weight

Importance = dict[str, np.ndarray]


def squared_gradients(
    model: keras.Model, x: Any, y: Any = None, *, batch_size: int = 32
) -> Importance:
    """Mean squared gradients of the loss, for every trainable weight.

    An estimate of the diagonal of the Hessian of a trained model, which tells
    how much the loss grows with the squared error of each weight. Gradients
    are taken as the model predicts, on a copy.

    Args:
        model: A Functional or built Sequential model, compiled with a loss.
        x, y: Samples as for `fit`; or an iterable of batches `(x, y)` as `x`.
        batch_size: Samples per gradient. The fewer, the better the estimate.

    Returns: what `quantize_weights(..., importance=)` takes: an array in the
    shape of the weight for each name, such as `"conv_1/kernel"`.

    Raises:
        TypeError: for what is no model.
        ValueError: if the model is not compiled with a loss, or for no data.

    Reference: Choi, El-Khamy and Lee, "Towards the Limit of Network
    Quantization", https://arxiv.org/abs/1612.01543, section 3.3.

    Example:

    >>> importance = squared_gradients(model, images, labels)
    >>> quantize_weights(model, {"mode": "kmeans"}, importance=importance)
    """
    check_model(model)
    check_count("batch_size", batch_size)
    if not model.compiled or model.loss is None:
        raise ValueError(
            f"Model '{model.name}' must be compiled with a loss, to take "
            "gradients of. Compile it first."
        )
    names = _trained(model)
    weights = {id(weight): None for weight, _ in names}
    losses = {
        "loss": model.loss,
        "loss_weights": model.get_compile_config()["loss_weights"],
    }
    total: dict[int, np.ndarray] = {}
    count = 0
    data = batches(x, y, batch_size)
    for gradients in batch_gradients(model, weights, losses, data):
        for key, gradient in gradients.items():
            square = np.square(gradient, dtype="float64")
            total[key] = total.get(key, 0) + square
        count += 1
    if not count:
        raise ValueError(
            "At least one batch is needed. Received: none; a generator is "
            "empty once it was read."
        )
    return {name: total[id(weight)] / count for weight, name in names}


def second_moments(model: keras.Model) -> Importance:
    """Adam's second moments, which training has measured already.

    Args:
        model: A model trained with Adam, AdamW or Nadam. The state that
            `fit` left must still be there.

    Returns: as `squared_gradients`.

    Raises:
        TypeError: for what is no model.
        ValueError: for another optimizer, or one without state.

    Reference: Choi et al., section 3.4.
    """
    check_model(model)
    optimizer = model.optimizer if model.compiled else None
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    kept = (keras.optimizers.Adam, keras.optimizers.Nadam)
    if not isinstance(optimizer, kept) or not optimizer.built:
        raise ValueError(
            f"Model '{model.name}' must have been trained with Adam, AdamW or "
            "Nadam. Received: "
            f"{type(optimizer).__name__ if optimizer else 'no optimizer'}. "
            "Use `squared_gradients` with some data."
        )
    moments = [v for v in optimizer.variables if "velocity" in v.path]
    trained = dict(zip(map(id, model.trainable_variables), moments))
    return {
        name: keras.ops.convert_to_numpy(trained[id(weight)])
        for weight, name in _trained(model)
        if id(weight) in trained
    }


def _trained(model):
    """Every trainable weight once, with its name in reports."""
    return [
        (weight, f"{name}/{attribute}")
        for name, _, attribute, weight in every_weight(model)
        if weight.trainable
    ]
