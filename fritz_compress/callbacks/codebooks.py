"""Training that keeps weights shared."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from fritz_compress.callbacks.channel_selection import network_of
from fritz_compress.checks import check_names
from fritz_compress.compilation import compiled_update
from fritz_compress.graph import weights_by_attribute
from fritz_compress.layers.binary_kernel import has_few_bits
from fritz_compress.ops.codes import LinearCodes, ProductCodes
from fritz_compress.ops.recognition import (
    recognize,
    recognize_codebook,
    recognize_linear,
)
from fritz_compress.surgery.names import (
    every_layer,
    find_layer,
    layers_inside,
)

GRADIENTS = ("sum", "mean")


class CodebookFineTuning(keras.callbacks.Callback):
    """Trains the entries of codebooks instead of single weights.

    For a model whose weights share values, as `quantize_weights` with the
    modes "kmeans" and "product" leaves them, or any other clustering: which
    weights share a value stays as it is, and each shared value moves by the
    gradients of all of its members. The optimizer, whichever it is, gets that
    one gradient for all of them. Zeros stay zero. All other weights, biases
    and normalizations among them, train as usual, and the model stays a plain
    Keras model.

    Which weights share a value is not stored: it is read off the weights at
    the first batch, so that training goes on after `BackupAndRestore`. Fewer
    bits than codes are not reached here: quantize first.

    Args:
        gradients: `"sum"` of the members' gradients, the gradient of the
            shared value, or their `"mean"`. Adam and its kin do not tell them
            apart; with plain SGD the sum takes steps as many times larger as
            there are members, so divide the learning rate, or take the mean.
        ignored_layers: Names of layers, or of models inside the model, whose
            weights train one by one.

    Attributes:
        shared: Names of the weights that share values, and how many values.
        skipped: Names of layers with other kernels, each with the reason.

    Raises:
        TypeError, ValueError: on construction for a value of the wrong type
            or not among those above; at the first batch if no weights share
            values.

    Reference: Han, Mao and Dally, "Deep Compression",
    https://arxiv.org/abs/1510.00149, section 3.3.

    Example:

    >>> smaller, _ = quantize_weights(model, {"nbits": 4, "mode": "kmeans"})
    >>> smaller.fit(images, labels, callbacks=[CodebookFineTuning()])
    """

    def __init__(
        self, gradients: str = "sum", ignored_layers: Sequence[str] = ()
    ):
        super().__init__()
        if gradients not in GRADIENTS:
            raise ValueError(
                f"`gradients` must be one of {list(GRADIENTS)}. Received: "
                f"{gradients!r}."
            )
        self.gradients = gradients
        self.ignored_layers = check_names("ignored_layers", ignored_layers)
        self.shared: dict[str, int] = {}
        self.skipped: tuple[tuple[str, str], ...] = ()

    def on_train_begin(self, logs=None):
        self._tied: list[_Tied] | None = None

    def on_train_batch_begin(self, batch, logs=None):
        if self._tied is None:
            # Not on train begin: BackupAndRestore may come after this one.
            self._find(network_of(self.model))
            self._tie(self.model)

    def on_train_batch_end(self, batch, logs=None):
        model = self.model  # On JAX this brings the variables up to date.
        del model
        self._share(self._members)

    def on_train_end(self, logs=None):
        if self._tied is not None:
            # An average of weights may just have taken the weights' place.
            self.on_train_batch_end(None)
            _untie(_innermost(self.model.optimizer))
            self.model.make_train_function(force=True)

    def _find(self, network):
        found, skipped = [], []
        for name, weight, reason in _weights(network, self.ignored_layers):
            values = ops.convert_to_numpy(weight)
            members = None
            if not reason:
                members, reason = _members(values)
            if reason:
                skipped.append((name, reason))
            else:
                found.append(_Tied(name, weight, members))
        if not found:
            raise ValueError(
                f"Model '{network.name}' has no weights that share values. "
                "Quantize it first: `quantize_weights(model, {'nbits': 4, "
                "'mode': 'kmeans'})`."
            )
        self.skipped = tuple(skipped)
        self.shared = {tied.name: tied.count for tied in found}
        self._tied = found
        self._members = [tied.tensors() for tied in found]
        self._share = compiled_update(_shared, [tied.weight for tied in found])

    def _tie(self, model):
        """Has the optimizer move all members of a shared value alike."""
        tied = {
            id(tied.weight): members
            for tied, members in zip(self._tied, self._members)
        }
        trained = list(model.trainable_variables)
        optimizer, gradients = _innermost(model.optimizer), self.gradients
        _untie(optimizer)
        apply = optimizer.apply

        def apply_shared(grads, trainable_variables=None):
            grads = [
                (
                    _gathered(grad, *tied[id(variable)], gradients)
                    if id(variable) in tied and grad is not None
                    else grad
                )
                for grad, variable in zip(grads, trainable_variables or trained)
            ]
            return apply(grads, trainable_variables)

        optimizer.apply = apply_shared
        # What is compiled calls the method as it was.
        model.make_train_function(force=True)


@dataclasses.dataclass(frozen=True, eq=False)
class _Tied:
    """A weight whose numbers share values.

    Attributes:
        name: Names of layer and weight.
        weight: The weight.
        members: For every number, flat, which value it shares.
    """

    name: str
    weight: keras.Variable
    members: np.ndarray

    @property
    def count(self) -> int:
        """How many values there are."""
        return int(self.members.max()) + 1

    def tensors(self):
        """Members; for each value the first of them, and one over their number.

        In place of the latter zero, for the value zero.
        """
        _, firsts, counts = np.unique(
            self.members, return_index=True, return_counts=True
        )
        values = ops.convert_to_numpy(self.weight).reshape(-1)
        shares = np.where(values[firsts] == 0, 0, 1 / counts)
        return (
            ops.convert_to_tensor(self.members, "int32"),
            ops.convert_to_tensor(firsts, "int32"),
            ops.convert_to_tensor(shares, "float32"),
        )


def _members(values: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Which value each number shares, or why none is shared."""
    codes = recognize(values)
    per_tensor = (1,) * values.ndim
    if isinstance(codes, LinearCodes):
        if recognize_linear(values, per_tensor) is None:
            return None, (
                "a scale for each channel or block; train it with "
                "`quantization_aware`"
            )
        codes = recognize_codebook(values, per_tensor)
    if codes is None:
        return None, "its values are not shared"
    if isinstance(codes, ProductCodes):
        values = _numbered(codes)
    return np.unique(values, return_inverse=True)[1].reshape(-1), ""


def _numbered(codes: ProductCodes) -> np.ndarray:
    """A number for each entry of the codebooks, in place of its value."""
    entries = np.arange(codes.codebooks.size, dtype="float64")
    entries = entries.reshape(codes.codebooks.shape)
    # Zero is one value wherever it stands in a sub-vector.
    entries[codes.codebooks == 0] = -1
    return dataclasses.replace(codes, codebooks=entries).decode()


def _weights(network, ignored_layers):
    """Every weight of two axes or more, and why it may not be shared."""
    ignored = layers_inside(
        find_layer(network, name) for name in ignored_layers
    )
    seen = set()
    for outer, name, layer in every_layer(network):
        for attribute, weight in weights_by_attribute(layer).items():
            # Layers inside the layer come by themselves.
            if "." in attribute or len(weight.shape) < 2 or id(weight) in seen:
                continue
            seen.add(id(weight))
            reason = "" if weight.trainable else "not trainable"
            if has_few_bits(layer) and attribute == "kernel":
                reason = "quantized by its layer"
            if outer in ignored:
                reason = f"'{name}' is in ignored_layers"
            yield f"{name}/{attribute}", weight, reason


def _innermost(optimizer):
    """The optimizer that sees gradients as they are, without a scale."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer
    return optimizer


def _untie(optimizer):
    """Gives back the method; a fit that was interrupted has not."""
    vars(optimizer).pop("apply", None)


def _sums(numbers, members, shares):
    return ops.segment_sum(numbers, members, num_segments=shares.shape[0])


def _gathered(grad, members, firsts, shares, gradients):
    """The gradient of its value for each number, zero for zero."""
    grad = ops.convert_to_tensor(grad)
    factors = shares if gradients == "mean" else ops.sign(shares)
    sums = _sums(ops.reshape(grad, (-1,)), members, shares)
    moved = ops.take(sums * ops.cast(factors, grad.dtype), members)
    return ops.reshape(moved, grad.shape)


def _shared(values, tied):
    """Means over the members, where optimizers have pulled them apart."""
    shared = []
    for value, (members, firsts, shares) in zip(values, tied):
        flat = ops.reshape(value, (-1,))
        # As differences to one member: what is equal stays so to the bit.
        first = ops.take(flat, firsts)
        apart = _sums(flat - ops.take(first, members), members, shares)
        mean = (first + apart * shares) * ops.sign(shares)
        shared.append(ops.reshape(ops.take(mean, members), value.shape))
    return shared
