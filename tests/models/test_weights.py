import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress.models import (
    SmallStyleTransferNetwork,
    StyleTransferNetwork,
)
from fritz_compress.models.weights import load_weights


def network(alpha=0.1, builder=SmallStyleTransferNetwork, seed=0):
    model = builder.build((8, 8), alpha)
    distinct_weights(model, seed=seed)
    return model


def save(model, path):
    if path.suffix == ".npz":
        np.savez(path, **{w.path: np.asarray(w) for w in model.weights})
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)


FILES = ["model.keras", "model.weights.h5", "model.h5", "model.npz"]


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("file", FILES)
def test_every_format_is_read(tmp_path, file):
    model = network()
    save(model, tmp_path / file)
    again = SmallStyleTransferNetwork.build(
        None, 0.1, checkpoint_file=tmp_path / file
    )
    for old, new in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("file", FILES)
def test_a_trained_checkpoint_is_read(tmp_path, file):
    model = network()
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)  # Slots for the file.
    save(model, tmp_path / file)
    again = network(seed=5)
    load_weights(again, tmp_path / file)
    np.testing.assert_array_equal(
        again.get_weights()[3], model.get_weights()[3]
    )


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "other",
    [
        {"alpha": 0.2},
        {"builder": StyleTransferNetwork, "alpha": 0.1},
    ],
    ids=["wider", "deeper"],
)
def test_another_architecture_is_refused(tmp_path, file, other):
    save(network(), tmp_path / file)
    model = network(**other)
    before = model.get_weights()
    with pytest.raises(ValueError, match="does not hold the weights of model"):
        load_weights(model, tmp_path / file)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_same_widths_and_fewer_blocks_are_not_loaded_in_part(tmp_path):
    class Shallow(SmallStyleTransferNetwork):
        blocks = 2

    network().save_weights(tmp_path / "three.weights.h5")
    with pytest.raises(ValueError, match="parameters and the file"):
        Shallow.build(None, 0.1, checkpoint_file=tmp_path / "three.weights.h5")


@pytest.mark.parametrize(
    "file, message",
    [
        ("missing.npz", "No checkpoint file at"),
        ("weights.bin", r"must end in one of .weights.h5, .keras"),
    ],
)
def test_a_wrong_path_is_an_error(tmp_path, file, message):
    with pytest.raises(ValueError, match=message):
        load_weights(network(), tmp_path / file)


@pytest.mark.parametrize("file", ["text.h5", "text.keras", "text.npz"])
def test_a_file_of_something_else_is_an_error(tmp_path, file):
    (tmp_path / file).write_text("not weights")
    with pytest.raises(ValueError, match=f"{file}'"):
        load_weights(network(), tmp_path / file)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kept", [0, 0.3, 0.9])
def test_a_torn_file_is_named(tmp_path, file, kept):
    save(network(), tmp_path / file)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=file):
        load_weights(network(), tmp_path / file)


def test_other_keras_models_can_be_loaded_too(tmp_path):
    def dense():
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])

    model = dense()
    distinct_weights(model, seed=0)
    model.save(tmp_path / "dense.keras")
    again = dense()
    load_weights(again, tmp_path / "dense.keras")
    np.testing.assert_array_equal(
        again.get_weights()[0], model.get_weights()[0]
    )
