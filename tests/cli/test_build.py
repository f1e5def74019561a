"""`fritz-compress build`: networks by name."""

import re

import keras
import numpy as np
import paper_arithmetic
import pytest
from commands import run
from helpers import distinct_weights

from fritz_compress import models

# Name, options, parameters and multiply-accumulates that are printed.
BUILT = [
    (
        "MobileNetV1",
        "--alpha 0.25 --rho 0.5714286",
        "475,544",
        f"{paper_arithmetic.mobilenet_v1(0.25, 4 / 7):,}",
    ),
    ("shufflenetv1", "--groups 3 --image-size 32x32", "1,890,208", None),
    (
        "ShuffleNetV1",
        "--alpha 0.25 --no-shuffle --classes 3 --image-size 32x32",
        "71,745",
        None,
    ),
    (
        "SqueezeNet",
        "--version 1.1 --bypass complex --image-size 32x32",
        "1,572,648",
        None,
    ),
    ("CifarResNet", "--depth 20 --shortcut B", "274,042", "40,813,184"),
    (
        "CifarResNet",
        "--no-top --channels 1 --image-size 28x28",
        "270,160",
        None,
    ),
    ("LeNet5", "--logits", "431,080", "2,293,000"),
    (
        "SmallStyleTransferNetwork",
        "--alpha 0.3 --normalization batch",
        "12,072",
        None,
    ),
    ("FlatStyleTransferNetwork", "--alpha 0.5", "13,264", None),
    ("BinaryResNet", "--depth 8 --input-scale --bi-real", "75,834", None),
    ("BinaryResNet", "--depth 8 --num-bits 0", "75,834", None),
    (
        "BinaryLeNet5",
        "--num-bits 0 --kernel-quantizer none",
        "432,790",
        "2,293,000",
    ),
]


@pytest.mark.parametrize("name, options, parameters, macs", BUILT)
def test_a_network_is_built_and_saved(
    name, options, parameters, macs, tmp_path, capsys
):
    output = tmp_path / "network.keras"
    assert run("build", name, output, *options.split()) == 0
    line = capsys.readouterr().out
    assert f"{output}: " in line and f", {parameters} parameters, " in line
    assert macs is None or f" {macs} multiply-accumulates at " in line
    assert line.count("\n") == 1
    model = keras.saving.load_model(output)
    assert not model.compiled
    assert f"{model.count_params():,}" == parameters


@pytest.mark.slow
def test_options_reach_the_network(tmp_path, capsys):
    output = tmp_path / "network.keras"

    def built(*options):
        assert run("build", *options[:1], output, *options[1:]) == 0
        return keras.saving.load_model(output)

    plain = built("ShuffleNetV1", "--alpha", "0.1", "--no-shuffle")
    kinds = {type(layer).__name__ for layer in plain.layers}
    assert "ChannelShuffle" not in kinds
    logits = built("LeNet5", "--logits").layers[-1]
    assert logits.activation is keras.activations.linear
    assert built("CifarResNet", "--no-top").output_shape == (None, 8, 8, 64)
    capsys.readouterr()
    any_size = built("CifarResNet", "--image-size", "any", "--alpha", "0.1")
    assert any_size.input_shape == (None, None, None, 3)
    assert "multiply-accumulates at 480x640" in capsys.readouterr().out


def test_the_seed_decides_on_the_weights(tmp_path):
    def weights(seed):
        assert run("build", "LeNet5", tmp_path / "a.keras", "--seed", seed) == 0
        return keras.saving.load_model(tmp_path / "a.keras").get_weights()[0]

    first, again, other = weights(1), weights(1), weights(2)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_weights_come_from_a_file(tmp_path):
    model = distinct_weights(models.LeNet5.build(classes=4))
    model.save_weights(tmp_path / "lenet.weights.h5")
    output = tmp_path / "lenet.keras"
    options = ["--classes", 4, "--weights", tmp_path / "lenet.weights.h5"]
    assert run("build", "LeNet5", output, *options) == 0
    built = keras.saving.load_model(output)
    for wanted, weight in zip(model.get_weights(), built.get_weights()):
        np.testing.assert_array_equal(weight, wanted)


def test_help_lists_the_options(capsys):
    assert run("build", "--help") == 0
    out = capsys.readouterr().out
    for (
        option
    ) in "alpha image-size classes groups version weights seed".split():
        assert f"--{option}" in out


WRONG = [
    ("LeNet5 {tmp}/a.h5", "ends with .keras"),
    ("LeNet5 {tmp}/no/a.keras", "No folder"),
    ("LeNet9 {tmp}/a.keras", "one of .*LeNet5.*'LeNet9'. Did you mean LeNet5"),
    ("nonsense {tmp}/a.keras", r"one of .*FlatStyle.*Received: 'nonsense'\.$"),
    ("ImageClassifier {tmp}/a.keras", "Received: 'ImageClassifier'"),
    (
        "LeNet5 {tmp}/a.keras --groups 3",
        "LeNet5 has no --groups. It takes --image-size, --alpha, --classes, "
        "--top, --logits, --weights, --channels",
    ),
    (
        "FlatStyleTransferNetwork {tmp}/a.keras --classes 3",
        "has no --classes. It takes --image-size, --alpha, --weights, --norm",
    ),
    ("ShuffleNetV1 {tmp}/a.keras --groups 5", "one of 1, 2, 3, 4, 8.*: gr"),
    ("SqueezeNet {tmp}/a.keras --version 2", "`version` must be one of"),
    ("SqueezeNet {tmp}/a.keras --bypass no", "`bypass` must be one of"),
    ("CifarResNet {tmp}/a.keras --depth 21", "`depth` must be 6n"),
    ("CifarResNet {tmp}/a.keras --shortcut C", "`shortcut` must be one of"),
    ("CifarResNet {tmp}/a.keras --alpha 0.01", r"int\(0.01 \* 16\) = 0"),
    ("MobileNetV1 {tmp}/a.keras --image-size 224", "HEIGHTxWIDTH.*'224'"),
    ("MobileNetV1 {tmp}/a.keras --image-size 8x8", "at least 31x31"),
    ("MobileNetV1 {tmp}/a.keras --rho 2", "`rho` is a resolution multiplier"),
    ("LeNet5 {tmp}/a.keras --image-size any", "needs pictures of one size"),
    ("LeNet5 {tmp}/a.keras --classes 0", "`classes` must be at least 1"),
    ("LeNet5 {tmp}/a.keras --weights {tmp}/no.npz", "No checkpoint file at"),
    ("LeNet5 {tmp}/a.keras --alpha many", "'--alpha'"),
]


@pytest.mark.parametrize("typed, message", WRONG)
def test_what_is_typed_wrong_is_one_line(typed, message, tmp_path, capsys):
    arguments = typed.format(tmp=tmp_path).split()
    assert run("build", *arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(message, error.strip())
    assert not list(tmp_path.iterdir())
