"""`fritz-compress quantize`: a file of few values, the table, suggestions."""

import json
import re

import keras
import numpy as np
import pytest
from commands import run, write_network_and_data
from sensitivity_models import data, pointwise_model

from fritz_compress import analysis, quantize_weights


@pytest.fixture(name="files", scope="module")
def network_and_data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_network_and_data(folder)
    configs = {
        "good": {"nbits": 3, "mode": "kmeans"},
        "mixed": {
            "global_config": {"nbits": 4},
            "layer_name_configs": {"first": {"nbits": 2}, "he*": None},
        },
        "key": {"nbit": 4},
        "type": {"nbits": "4"},
        "list": [4],
    }
    for name, config in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    (folder / "none.json").write_text("nbits=4")
    return folder


def quantize(files, output, *options, network="bare"):
    return run("quantize", files / f"{network}.keras", output, *options)


def check(path, config, out):
    """Whether a file and what was printed are those of a configuration."""
    expected, report = quantize_weights(pointwise_model(), config)
    found = keras.saving.load_model(path, compile=False)
    for new, old in zip(found.get_weights(), expected.get_weights()):
        np.testing.assert_array_equal(new, old)
    assert str(report) in out
    assert f"{path} written" in out


KMEANS = {"nbits": 4, "mode": "kmeans", "granularity": "per_channel"}


@pytest.mark.parametrize(
    "options, config",
    [
        ("", None),
        ("--nbits 4 --mode kmeans --granularity per_channel", KMEANS),
        ("--config {files}/good.json", {"nbits": 3, "mode": "kmeans"}),
        (
            "--nbits 4 --mode kmeans --layer first=2 --layer he*=none",
            {
                "global_config": {"nbits": 4, "mode": "kmeans"},
                "layer_name_configs": {
                    "first": {"nbits": 2, "mode": "kmeans"},
                    "he*": None,
                },
            },
        ),
        (
            # What is typed counts more than the file.
            "--config {files}/mixed.json --layer head=5 --layer first=6",
            {
                "global_config": {"nbits": 4},
                "layer_name_configs": {
                    "head": {"nbits": 5},
                    "first": {"nbits": 6},
                },
            },
        ),
    ],
)
def test_weights_are_those_of_the_configuration(
    options, config, files, tmp_path, capsys
):
    output = tmp_path / "a.keras"
    words = [word.format(files=files) for word in options.split()]
    assert quantize(files, output, *words) == 0
    check(output, config, capsys.readouterr().out)


def test_a_table_says_what_bits_cost(files, tmp_path, capsys):
    output = tmp_path / "a.keras"
    assert quantize(files, output, "--table", "--mode", "linear") == 0
    out = capsys.readouterr().out
    model = pointwise_model()
    noise = analysis.signal_to_noise(model, config={"mode": "linear"})
    assert str(noise).split("\n", 1)[1] in out
    check(output, {"mode": "linear"}, out)


@pytest.mark.slow
def test_bits_are_suggested_for_a_loss(files, tmp_path, capsys):
    output, sweep = tmp_path / "a.keras", tmp_path / "sweep.jsonl"
    options = ["--data", files / "data.npz", "--max-loss", 0.02]
    options += ["--mode", "linear", "--layer", "head=none"]
    options += ["--nbits", 2, "--nbits", 5, "--resume", sweep]
    assert quantize(files, output, *options, network="net") == 0
    out = capsys.readouterr().out
    config = {
        "global_config": {"mode": "linear"},
        "layer_name_configs": {"head": None},
    }
    expected = analysis.suggest_bits(
        pointwise_model(), *data(), max_loss=0.02, nbits=(2, 5), config=config
    )
    assert str(expected) in out and "head" not in expected.bits
    count = expected.evaluations
    assert f"{count}/{count}" in out
    check(output, expected.config, out)
    measured = sweep.read_text()
    assert measured.count("\n") == count + 1
    assert quantize(files, output, *options, network="net") == 0
    assert sweep.read_text() == measured


def test_a_loss_may_be_named(files, tmp_path, capsys):
    options = ["--data", files / "data.npz", "--max-loss", 9, "--loss", "mae"]
    assert quantize(files, tmp_path / "a.keras", *options, "--nbits", 3) == 0
    out = capsys.readouterr().out
    assert re.search(
        r"'bare' with the bits below: loss \d.* \(max_loss=9,", out
    )


SUGGEST = "--data {files}/data.npz --max-loss 0.1"
WRONG = [
    ("missing.keras {out}", "No network at 'missing.keras'"),
    ("{net} {tmp}/a.tflite", "ends with .keras"),
    ("{net} {tmp}/no/a.keras", "No folder '.*no'"),
    ("{net} {out} --nbits 17", "from 1 to 16. Received: 17"),
    ("{net} {out} --nbits four", "'--nbits'"),
    ("{net} {out} --nbits 2 --nbits 4", "One --nbits is for all layers"),
    ("{net} {out} --mode kmean", "`mode` must be one of .*'kmean'"),
    ("{net} {out} --granularity row", "`granularity` must be one of"),
    (
        "{net} {out} --mode product --granularity per_channel",
        "must have a granularity of",
    ),
    ("{net} {out} --config no.json", "No configuration at 'no.json'"),
    ("{net} {out} --config {files}/none.json", "none.json' must hold"),
    ("{net} {out} --config {files}/list.json", "list.json' must hold.*4"),
    ("{net} {out} --config {files}/key.json", "Did you mean 'nbits'"),
    ("{net} {out} --config {files}/type.json", "from 1 to 16.*'4'"),
    (
        "{net} {out} --config {files}/good.json --nbits 4",
        "--config says what --nbits would",
    ),
    ("{net} {out} --layer first", "NAME=BITS, such as.*'first'"),
    ("{net} {out} --layer first=0.5", "NAME=BITS, such as.*'first=0.5'"),
    ("{net} {out} --layer first=20", "from 1 to 16. Received: 20"),
    ("{net} {out} --layer frist=4", "'frist'. Did you mean 'first'"),
    ("{net} {out} --data {files}/data.npz", "such as --max-loss 0.01"),
    ("{net} {out} --loss mse", "such as --max-loss 0.01"),
    ("{net} {out} --max-loss 0.1", "--max-loss needs samples"),
    ("{net} {out} --max-loss -1 --data a.npz", "'--max-loss'"),
    ("{net} {out} --max-loss 0.1 --data a.npz", "No data at 'a.npz'"),
    ("{net} {out} --max-loss 1 --data {files}/other.npz", "without y, with x"),
    ("{files}/bare.keras {out} " + SUGGEST, "comes without loss and metrics"),
    ("{net} {out} --layer first=4 " + SUGGEST, "NAME=none, to leave.*first=4"),
    ("{net} {out} --metric auc " + SUGGEST, "one of loss, mae.*'auc'"),
    ("{net} {out} --resume {tmp} " + SUGGEST, "`resume_file` must be a file"),
]


@pytest.mark.parametrize("line, message", WRONG)
def test_bad_input_gets_one_line_and_exit_code_2(
    line, message, files, tmp_path, capsys
):
    names = {"files": files, "tmp": tmp_path, "net": files / "net.keras"}
    words = line.format(**names, out=tmp_path / "a.keras").split()
    assert run("quantize", *words) == 2
    out, error = capsys.readouterr()
    assert not out  # no empty progress bar
    assert error.startswith("fritz-compress: ") and error.count("\n") == 1
    assert re.search(message, error), error
    assert not list(tmp_path.iterdir())  # nothing half-written
