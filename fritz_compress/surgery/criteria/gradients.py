"""Criteria that look at how the loss depends on the weights."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from fritz_compress.checks import check_count
from fritz_compress.graph import flatten_layers
from fritz_compress.ops.importance import sums
from fritz_compress.surgery.criteria.base import Criterion
from fritz_compress.surgery.criteria.samples import (
    batches,
    check_arrays,
    check_has_targets,
)
from fritz_compress.surgery.groups import ChannelGroup
from fritz_compress.surgery.removal import copied
from fritz_compress.surgery.training_state import counterparts

Loss = str | keras.Loss | Callable[[Any, Any], Any] | Sequence | Mapping


class Taylor(Criterion):
    """How much the loss would change without the filter, to first order.

    For every batch the gradient of the loss is multiplied with the weights
    and summed over the filter, bias included: for a layer that no
    normalization follows this is what shrinking the filter's output to zero
    does. The absolute values are averaged over the batches and added up over
    the layers of the group. They are in units of the loss, so that layers and
    groups are compared as they are.

    Gradients are taken on a copy of the model as it predicts: without
    dropout, with the moving statistics of batch normalizations, and without
    regularization. Frozen layers are scored as well.

    Args:
        x: Inputs as for `model.fit`, an array or a structure of arrays; or an
            iterable of batches `(x, y)`, such as a dataset, that can be read
            more than once.
        y: Targets, `None` if `x` has them.
        loss: As for `model.compile`; `None` for the loss, and loss weights,
            that the model is compiled with.
        batch_size: Samples per gradient. Averaged over too many samples the
            gradients of a trained model vanish.

    Raises:
        TypeError: on construction for data or a `batch_size` of the wrong
            type; when it scores, for batches that are not `(x, y)`.
        ValueError: on construction if `batch_size` is below 1, or for arrays
            without targets; when it scores, if there is no loss, no data, or
            NaN in weights, inputs or gradients.

    Reference: Molchanov et al., "Importance Estimation for Neural Network
    Pruning", https://arxiv.org/abs/1906.10771, equation 8, with the absolute
    value in place of the square.

    Example:

    >>> smaller = prune_filters(model, 0.25, Taylor(images, labels))
    """

    comparable = True

    def __init__(
        self,
        x: Any,
        y: Any = None,
        loss: Loss | None = None,
        *,
        batch_size: int = 32,
    ):
        if y is None:
            check_has_targets("Taylor", x)
        else:
            check_arrays("Taylor", x=x, y=y)
        self.x = x
        self.y = y
        self.loss = loss
        self.batch_size = check_count("batch_size", batch_size)

    def scores(
        self, model: keras.Model, groups: Sequence[ChannelGroup]
    ) -> list[np.ndarray]:
        """Mean absolute changes of the loss; see `Criterion.scores`."""
        for group in groups:
            group.check_numbers()
        weights = {
            id(share.weight): share.weight
            for group in groups
            for share in group.shares
            if share.layer in group.makers
        }
        values = {
            key: keras.ops.convert_to_numpy(weight)
            for key, weight in weights.items()
        }
        changes = [np.zeros(group.channels) for group in groups]
        data = batches(self.x, self.y, self.batch_size)
        count = 0
        for found in batch_gradients(model, values, self._losses(model), data):
            products = {
                key: np.multiply(values[key], gradient, dtype="float64")
                for key, gradient in found.items()
            }
            _check_finite(products, count)
            for change, group in zip(changes, groups):
                change += _changes(group, products)
            count += 1
        if not count:
            raise ValueError(
                "Criterion 'Taylor' needs at least one batch. Received: an "
                "iterable with none; a generator is empty once it was read. "
                "Pass arrays, a list or a dataset."
            )
        return [change / count for change in changes]

    def _losses(self, model):
        """Arguments of `compile`."""
        if self.loss is not None:
            return {"loss": self.loss}
        if not model.compiled or model.loss is None:
            raise ValueError(
                f"Criterion 'Taylor' needs a loss, and model '{model.name}' "
                "is not compiled with one. Pass `Taylor(x, y, loss=...)`, or "
                "compile the model first."
            )
        weights = model.get_compile_config()["loss_weights"]
        return {"loss": model.loss, "loss_weights": weights}


class _Recorder(keras.optimizers.Optimizer):
    """An optimizer that notes gradients and changes nothing."""

    def __init__(self, loss_scale):
        super().__init__(
            learning_rate=0.0, loss_scale_factor=loss_scale, name="recorder"
        )

    def build(self, variables):
        super().build(variables)
        self.recorded = self.add_optimizer_variables(variables, "gradient")

    def apply(self, grads, trainable_variables=None):
        # Not `update_step`: around it weights are constrained.
        for gradient, slot in zip(grads, self.recorded, strict=True):
            if gradient is not None:
                self.assign(slot, gradient / self.loss_scale_factor)


class _Prediction(keras.Model):
    """A model that is trained as it predicts."""

    def __init__(self, model):
        super().__init__(name="prediction")
        self.model = model
        if not isinstance(model, keras.Sequential):
            # By them losses are matched with outputs.
            self.output_names = model.output_names

    def call(self, inputs):
        return self.model(inputs, training=False)


def batch_gradients(
    model: keras.Model,
    wanted: Mapping[int, np.ndarray],
    losses: Mapping[str, Any],
    data: Iterable[tuple],
) -> Iterator[dict[int, np.ndarray]]:
    """For every batch the gradients of the weights of the ids wanted."""
    copy = copied(model)
    originals = counterparts(copy, model)
    copy.trainable = True
    for weight in copy.weights:
        weight.trainable = id(originals[id(weight)]) in wanted
        weight.regularizer = None
    layers = flatten_layers(copy)
    half = any(layer.compute_dtype == "float16" for layer in layers)
    recorder = _Recorder(loss_scale=1024.0 if half else 1.0)
    training = _Prediction(copy)
    # XLA on the CPU compiles for longer than it saves; JAX needs it.
    jit_compile = "auto" if keras.backend.backend() == "jax" else False
    training.compile(
        recorder, **losses, jit_compile=jit_compile, auto_scale_loss=False
    )
    recorder.build(copy.trainable_variables)
    for batch in data:
        training.train_on_batch(*batch)
        yield {
            id(originals[id(weight)]): keras.ops.convert_to_numpy(slot)
            for weight, slot in zip(copy.trainable_variables, recorder.recorded)
        }


def _check_finite(products, batch):
    if not all(np.isfinite(product).all() for product in products.values()):
        raise ValueError(
            "Criterion 'Taylor' needs gradients that are numbers. Received: "
            f"NaN or infinity from batch {batch}. Its targets hold NaN, or "
            "what the model makes of its inputs does, or the loss of both: "
            "look at them, and at `model.evaluate`."
        )


def _changes(group, products):
    """Absolute sums over the filters of each layer, added up."""
    changes = np.zeros(group.channels)
    for maker in group.makers:
        change = np.zeros(group.channels)
        for share in group.shares:
            if share.layer == maker:
                own = share.channels >= 0
                found = sums(products[id(share.weight)], share.axis)
                np.add.at(change, share.channels[own], found[own])
        changes += abs(change)
    return changes
