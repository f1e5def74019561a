"""Commands as they are typed, for the tests of the command line."""

import keras
import numpy as np
import pytest
from sensitivity_models import data, pointwise_model

from fritz_compress import cli


def run(*arguments):
    """Exit code of a command."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return stop.value.code


def write_network_and_data(folder):
    """A network with and without compile state, its data, and half of it."""
    model, (x, y) = pointwise_model(), data()
    model.optimizer.build(model.trainable_variables)  # As training does.
    model.save(folder / "net.keras")
    bare = keras.Sequential(model.layers, name="bare")
    bare.build(model.input_shape)
    bare.save(folder / "bare.keras")
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "other.npz", x=x)
