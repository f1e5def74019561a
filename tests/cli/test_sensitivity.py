"""`fritz-compress sensitivity`: table, files, going on after a kill."""

import re

import keras
import numpy as np
import pytest
from commands import run, write_network_and_data
from PIL import Image
from sensitivity_models import data, pointwise_model

from fritz_compress.analysis import SensitivityTable, sensitivity


@pytest.fixture(name="files", scope="module")
def network_and_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_network_and_data(folder)
    np.save(folder / "x.npy", np.ones(3))
    return folder


def test_a_sweep_prints_writes_and_goes_on(files, tmp_path, capsys):
    arguments = ["sensitivity", files / "net.keras", files / "data.npz"]
    arguments += ["--csv", tmp_path / "a.csv", "--plot", tmp_path / "a.png"]
    arguments += ["--resume", tmp_path / "sweep.jsonl", "--max-loss", 0.05]
    assert run(*arguments) == 0
    out = capsys.readouterr().out
    expected = sensitivity(pointwise_model(), *data())
    assert str(expected) in out and "18/18" in out
    assert "filters to zero for a loss of at most 0.05\n" in out
    for layer, fraction in expected.suggest(0.05).items():
        assert re.search(rf"{layer} +{fraction:g} *\n", out)
    found = SensitivityTable.from_csv((tmp_path / "a.csv").read_text())
    assert found.rows == expected.rows
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1350, 750)
    measured = (tmp_path / "sweep.jsonl").read_text()
    assert run(*arguments) == 0
    assert (tmp_path / "sweep.jsonl").read_text() == measured


@pytest.mark.slow
def test_a_loss_may_be_named(files, capsys):
    arguments = ["sensitivity", files / "bare.keras", files / "data.npz"]
    assert run(*arguments, "--loss", "mae", "--kind", "weights") == 0
    out = capsys.readouterr().out
    assert "'bare' with a fraction of the weights" in out
    expected = sensitivity(pointwise_model(), *data()).baseline
    assert f"loss: {expected:.4g} with none" in out


def test_layers_that_shrink_together_are_listed(tmp_path, capsys):
    inputs = keras.Input((4,))
    both = [keras.layers.Dense(3, name=name)(inputs) for name in "ab"]
    outputs = keras.layers.Dense(2)(keras.layers.Add()(both))
    model = keras.Model(inputs, outputs)
    model.compile(loss="mse")
    model.optimizer.build(model.trainable_variables)  # As training does.
    model.save(tmp_path / "net.keras")
    np.savez(tmp_path / "data.npz", x=np.ones((4, 4)), y=np.ones((4, 2)))
    assert (
        run("sensitivity", tmp_path / "net.keras", tmp_path / "data.npz") == 0
    )
    rows = re.findall(r"a \(with b\) +\d", capsys.readouterr().out)
    assert len(rows) == 2  # what was measured, and what is suggested


WRONG = [
    ("{files}/net.keras missing.npz", "No data at 'missing.npz'"),
    ("{files}/net.keras {files}/net.keras", "an .npz file with arrays x and"),
    ("{files}/net.keras {files}/other.npz", "other.npz' without y, with x."),
    ("{files}/net.keras {files}/x.npy", "x.npy', which is none. Write one w"),
    ("{files}/net.keras {files}/data.npz --criterion taylor", "--criterion m"),
    ("{files}/bare.keras {files}/data.npz", "comes without loss and metrics"),
    ("{files}/net.keras {files}/data.npz --csv a.txt", "ends with .csv"),
    ("{files}/net.keras {files}/data.npz --plot a.gif", "ends with .png"),
    ("{files}/net.keras {files}/data.npz --plot {tmp}/n/a.png", "No folder"),
    ("{files}/net.keras {files}/data.npz --kind rows", "Received: kind='rows'"),
    ("{files}/net.keras {files}/data.npz --max-loss -1", "'--max-loss'"),
]


@pytest.mark.parametrize("line, message", WRONG)
def test_bad_input_gets_one_line_and_exit_code_2(
    line, message, files, tmp_path, capsys
):
    words = [w.format(files=files, tmp=tmp_path) for w in line.split()]
    assert run("sensitivity", *words) == 2
    out, error = capsys.readouterr()
    assert not out  # no empty progress bar
    assert error.startswith("fritz-compress: ") and error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())
