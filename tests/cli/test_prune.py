"""`fritz-compress prune`: a smaller network, the table, going on."""

import json
import re

import keras
import numpy as np
import pytest
from commands import run
from keras import layers

from fritz_compress import training


def detector():
    """Tells 4 one-hot inputs apart with the first 4 of its 8 units."""
    model = keras.Sequential(name="net")
    model.add(keras.Input((4,)))
    model.add(layers.Dense(8, "relu", name="hidden"))
    model.add(layers.Dense(4, "softmax", name="head"))
    units = np.where(np.eye(4, 8), 1.0, 0.001) * np.linspace(2, 1, 8)
    model.set_weights([units, np.zeros(8), 3 * np.eye(8, 4), np.zeros(4)])
    return model


@pytest.fixture(name="files", scope="module")
def network_and_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    model = detector()
    model.save(folder / "bare.keras")
    model.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        run_eagerly=True,
    )
    model.optimizer.build(model.trainable_variables)  # As training does.
    model.save(folder / "net.keras")
    y = np.arange(16) % 4
    x = np.eye(4, dtype="float32")[y]
    arrays = {"x_train": x, "y_train": y, "x_val": x, "y_val": y}
    np.savez(folder / "data.npz", **arrays)
    np.savez(folder / "short.npz", **{**arrays, "y_train": y[:3]})
    np.savez(folder / "other.npz", x=x, y=y)
    np.save(folder / "x.npy", x)
    texts = np.array([None], object)
    np.savez(folder / "texts.npz", **{**arrays, "x_val": texts})
    return folder


def prune(files, output, *options, network="net", floor=0.9):
    arguments = [files / f"{network}.keras", files / "data.npz", output]
    options = ["--floor", floor, "--final-epochs", 1, *options]
    return run("prune", *arguments, "--batch-size", 8, *options)


def test_what_is_useless_goes(files, tmp_path, capsys):
    output = tmp_path / "small.keras"
    assert prune(files, output) == 0
    out = capsys.readouterr().out
    assert re.search(r"hidden +8 -> 4 +1\.0000 +1\.0000 +1 +kept", out)
    assert "accuracy 1.0000 -> 1.0000 (floor 0.9), parameters 76 -> 40" in out
    assert "40 weights" in out and "1/1" in out
    smaller = keras.saving.load_model(output)
    assert smaller.get_layer("hidden").units == 4
    kept = detector().get_layer("hidden").get_weights()[0][:, :4]
    np.testing.assert_allclose(
        smaller.get_layer("hidden").get_weights()[0], kept
    )


def test_what_is_useful_stays(files, tmp_path, capsys):
    options = ["--layer", "hidden=0.75", "--round-to", 2]
    options += ["--recovery-epochs", 3, "--sample-fraction", 0.5]
    assert prune(files, tmp_path / "a.keras", *options) == 0
    out = capsys.readouterr().out
    assert re.search(r"hidden +6 -> 4 .* 1 +kept", out)
    assert re.search(r"hidden +4 -> 2 +0.5000 +0.5000 +3 +undone", out)


def test_a_loss_may_be_named(files, tmp_path, capsys):
    options = ["--loss", "sparse_categorical_crossentropy"]
    options += ["--learning-rate", 0.0, "--metric", "loss"]
    options += ["--lower-is-better", "--optimizer", "sgd"]
    output = tmp_path / "a.keras"
    assert prune(files, output, *options, network="bare", floor=0.5) == 0
    assert re.search(r"loss 0\.0\d+ -> 0\.0", capsys.readouterr().out)


def test_a_command_that_was_stopped_goes_on(
    files, tmp_path, capsys, monkeypatch
):
    def interrupted(self):
        raise KeyboardInterrupt

    folder, output = tmp_path / "state", tmp_path / "a.keras"
    with monkeypatch.context() as patch:
        patch.setattr(training.layer_by_layer._Pruning, "retrain", interrupted)
        assert prune(files, output, "--resume", folder) == 130
    assert "same command goes on" in capsys.readouterr().out
    assert not output.exists()
    (step,) = json.loads((folder / "journal.json").read_text())["steps"]
    assert step["channels_after"] == 4 and step["accepted"]
    assert prune(files, output, "--resume", folder) == 0
    assert "8 -> 4" in capsys.readouterr().out
    assert keras.saving.load_model(output).get_layer("hidden").units == 4


WRONG = [
    ("missing.keras {data} a.keras", "No network at 'missing.keras'"),
    ("{net} missing.npz {tmp}/a.keras", "No data at 'missing.npz'"),
    ("{net} {files}/other.npz {tmp}/a.keras", "x_train, y_train, x_val and"),
    ("{net} {net} {tmp}/a.keras", "Expected an .npz file with arrays x_tr"),
    ("{net} {files}/short.npz {tmp}/a.keras", "`data` must have one length"),
    ("{net} {data} {tmp}/a.onnx", "ends with .keras"),
    ("{net} {data} {tmp}/no/a.keras", "No folder"),
    ("{files}/bare.keras {data} {tmp}/a.keras", "without a loss.*--loss"),
    ("{net} {data} {tmp}/a.keras --fraction 50", "not a percent"),
    ("{net} {data} {tmp}/a.keras --fraction 0", "Nothing to prune"),
    ("{net} {data} {tmp}/a.keras --layer hiden=0.5", "Did you mean 'hidden'"),
    ("{net} {data} {tmp}/a.keras --layer hidden", "NAME=FRACTION.*'hidden'"),
    ("{net} {data} {tmp}/a.keras --layer head=0.5", "cannot lose filters"),
    ("{net} {data} {tmp}/a.keras --metric mae", "accuracy, loss.*'mae'"),
    ("{net} {data} {tmp}/a.keras --criterion l3", "Did you mean l"),
    ("{net} {data} {tmp}/a.keras --criterion taylor", "must be one of l1"),
    ("{net} {files}/x.npy {tmp}/a.keras", "x_train=x_train, y_train=y_tr"),
    ("{net} {files}/texts.npz {tmp}/a.keras", "must be of numbers"),
]


@pytest.mark.parametrize("line, message", WRONG)
def test_bad_input_gets_one_line_and_exit_code_2(
    line, message, files, tmp_path, capsys
):
    names = {"files": files, "tmp": tmp_path, "net": files / "net.keras"}
    words = line.format(**names, data=files / "data.npz").split()
    assert run("prune", *words, "--floor", "0.9") == 2
    out, error = capsys.readouterr()
    assert not out  # no empty progress bar
    assert error.startswith("fritz-compress: ") and error.count("\n") == 1
    assert re.search(message, error), error
    assert not list(tmp_path.iterdir())  # nothing half-written


def test_a_floor_above_the_network_is_refused(files, tmp_path, capsys):
    assert prune(files, tmp_path / "a.keras", floor=1.5) == 2
    assert "must reach the floor" in capsys.readouterr().err
    assert run("prune", "a", "b", "c") == 2
    assert "Missing option '--floor'" in capsys.readouterr().err
