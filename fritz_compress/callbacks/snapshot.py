"""Everything that training changes in a model, to go back to it later."""

import pathlib
import warnings

import keras
import numpy as np

from fritz_compress.callbacks.channel_selection import network_of
from fritz_compress.files import whole_file


class Snapshot:
    """Weights, moving statistics and optimizer of a model at one moment.

    The optimizer's count of steps, its slots and its learning rate belong to
    it. States of random generators do not: what comes after differs in its
    dropout. Of a `keras.distillation.Distiller` it holds the student.

    Args:
        model: The model that is fitted. Its optimizer is built if need be. On
            JAX, in the middle of an epoch, as a callback's `self.model`.

    Attributes:
        step: Optimizer steps done.
    """

    def __init__(self, model: keras.Model):
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        self.step = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
        # Copies, since on a CPU arrays may share the variables' memory.
        self._values = [
            np.array(keras.ops.convert_to_numpy(variable))
            for variable in _variables(model)
        ]

    def restore(self, model: keras.Model) -> None:
        """Gives the model, the same one, all its values back."""
        for variable, value in zip(
            _variables(model), self._values, strict=True
        ):
            variable.assign(value)

    @classmethod
    def of_file(cls, path: pathlib.Path, model: keras.Model) -> "Snapshot":
        """The snapshot that `save` kept; the model stays as it is.

        Raises:
            ValueError: if the file is missing or of another model.
        """
        now = cls(model)
        try:
            with warnings.catch_warnings():
                # Keras only warns when it leaves an optimizer unrestored.
                warnings.simplefilter("error", UserWarning)
                model.load_weights(path)
            return cls(model)
        except (ValueError, KeyError, OSError, UserWarning) as error:
            raise ValueError(
                f"Expected the early weights of model '{model.name}' in "
                f"'{path}'. Received: {error}. Pass the file of this "
                "training, or start it anew."
            ) from error
        finally:
            now.restore(model)


def save(model: keras.Model, path: pathlib.Path) -> None:
    """Writes weights and optimizer of a model, the file whole or not at all."""
    with whole_file(path) as unfinished:
        model.save_weights(unfinished)


def _variables(model):
    return [*network_of(model).weights, *model.optimizer.variables]
