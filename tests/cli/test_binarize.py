"""`fritz-compress binarize`: a binary network, and what is deployed of it."""

import json

import keras
import numpy as np
import pytest
from commands import run
from helpers import distinct_weights
from keras import layers

import fritz_compress as fc
from fritz_compress.layers import BinaryConv2D, XnorConv2D


def typed(capsys, line):
    """Exit code, and what was printed, of a command as it is typed."""
    code = run(*line.split())
    return code, *capsys.readouterr()


def network():
    inputs = keras.Input((8, 8, 3), name="pictures")
    x = layers.Conv2D(6, 3, name="first")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(7, 3, name="second")(x)
    x = layers.Conv2D(5, 1, name="pointwise")(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    return distinct_weights(
        keras.Model(inputs, layers.Dense(4, name="last")(x), name="net")
    )


@pytest.fixture(name="folder", scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    network().save(folder / "net.keras")
    config = {
        "global_config": {"kernel_quantizer": "ste_tern"},
        "layer_name_configs": {"pointwise": None},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "wrong.json").write_text('{"kernel_quantizer": "ste_sing"}')
    return folder


SIGNS = {"input_quantizer": "ste_sign"}
NO_POINTWISE = {"layer_name_configs": {"pointwise": None}}


@pytest.mark.parametrize(
    "options, config",
    [
        ("--layer pointwise=none", {"global_config": {}, **NO_POINTWISE}),
        (
            "--input-bits 1 --input-scale --layer pointwise=none",
            {"global_config": {**SIGNS, "input_scale": True}, **NO_POINTWISE},
        ),
        (
            "--kernel-quantizer ste_sign --layer pointwise=2 --input-bits 3",
            {
                "global_config": {
                    "kernel_quantizer": "ste_sign",
                    "input_quantizer": fc.quantizers.DoReFa(3),
                },
                "layer_name_configs": {
                    "pointwise": {
                        "kernel_quantizer": fc.quantizers.DoReFa(2, "weights"),
                        "input_quantizer": fc.quantizers.DoReFa(3),
                    }
                },
            },
        ),
        (
            "--config config.json",
            {
                "global_config": {"kernel_quantizer": "ste_tern"},
                **NO_POINTWISE,
            },
        ),
    ],
)
def test_it_writes_what_the_function_makes(options, config, folder, capsys):
    options = options.replace("config.json", str(folder / "config.json"))
    path = folder / "binary.keras"
    code, out, err = typed(
        capsys, f"binarize {folder / 'net.keras'} {path} {options}"
    )
    assert (code, err) == (0, "")
    expected, report = fc.binarize(network(), config)
    found = keras.saving.load_model(path)
    assert [(type(x), x.get_config()) for x in found.layers] == [
        (type(x), x.get_config()) for x in expected.layers
    ]
    for new, old in zip(
        found.get_weights(), expected.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(new, old)
    assert str(report).splitlines()[-1] in out
    assert f"{path} written: train it" in out and "note" not in out
    kind = XnorConv2D if "scale" in options else BinaryConv2D
    assert type(found.get_layer("second")) is kind


def test_rules_of_the_trade_are_notes(folder, capsys):
    paths = f"{folder / 'net.keras'} {folder / 'noted.keras'}"
    code, out, err = typed(capsys, f"binarize {paths}")
    assert (code, err) == (0, "")
    assert "note: Layer 'pointwise': a 1x1 convolution" in out


def test_what_is_deployed_packs_into_bits(folder, capsys):
    names = [folder / f"deploy_{i}.keras" for i in range(2)]
    packed = folder / "deploy.fcz"
    typed(capsys, f"binarize {folder / 'net.keras'} {names[0]}")
    code, out, err = typed(capsys, f"binarize {names[0]} {names[1]} --deploy")
    assert (code, err) == (0, "")
    # 3 * 3 * 6 * 7 and 7 * 5 signs.
    assert "413 of 653 numbers are one bit" in out
    found = keras.saving.load_model(names[1])
    kernel = keras.ops.convert_to_numpy(found.get_layer("second").kernel)
    assert set(np.unique(kernel)) == {-1, 1}
    assert typed(capsys, f"pack {names[1]} {packed}")[0] == 0
    again = fc.load_compressed(packed)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3))
    np.testing.assert_array_equal(
        again.predict(images, verbose=0), found.predict(images, verbose=0)
    )


@pytest.mark.parametrize(
    "options, text",
    [
        ("--kernel-quantizer ste_sing", "Did you mean 'ste_sign'?"),
        ("--input-bits 9", "should be less than or equal to 8"),
        ("--input-scale", "`input_scale` is for signs of inputs"),
        ("--layer second", "--layer is NAME=BITS, such as conv_1=4"),
        ("--layer second=9", "`nbits` must be a whole number from 1 to 8"),
        ("--layer secnd=none", "Received: 'secnd'. Did you mean 'second'?"),
        ("--config wrong.json", "must hold a configuration, such as {"),
        (
            "--config config.json --input-bits 1",
            "--config says what --input_quantizer would",
        ),
        ("--deploy --input-bits 1", "Received: --input-bits beside it"),
        ("--deploy", "'net' must have layers with a kernel quantizer"),
    ],
)
def test_bad_input(options, text, folder, capsys):
    for name in ("config.json", "wrong.json"):
        options = options.replace(name, str(folder / name))
    path = folder / "bad.keras"
    code, _, err = typed(
        capsys, f"binarize {folder / 'net.keras'} {path} {options}"
    )
    assert code == 2
    assert text in err and err.count("\n") == 1
    assert not path.exists()
