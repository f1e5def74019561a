import itertools

import keras
import numpy as np
import pytest
from applications import difference
from helpers import distinct_weights

from fritz_compress.models import SqueezeNet


def ceiled_maxima(x):
    """Maxima of 3x3 positions at every second one, of what there is."""
    rows, columns = (-(-(side - 3) // 2) + 1 for side in x.shape[1:3])
    found = np.empty((len(x), rows, columns, x.shape[-1]), x.dtype)
    for i, j in itertools.product(range(rows), range(columns)):
        window = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        found[:, i, j] = window.max(axis=(1, 2))
    return found


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [(7, 9), (7, 10), (8, 9), (8, 10)])
def test_maxima_at_the_edges_are_over_what_is_left(size, known):
    """For negative numbers, too, which what is padded must not exceed."""
    inputs = keras.Input((*(size if known else (None, None)), 2))
    model = keras.Model(inputs, SqueezeNet.pool(inputs, "pool"))
    x = np.random.default_rng(0).normal(-3, 1, (2, *size, 2)).astype("float32")
    received = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_array_equal(received, ceiled_maxima(x))


@pytest.mark.parametrize(
    "version, sizes",
    [
        ("1.0", {"conv1": 109, "pool1": 54, "pool4": 27, "pool8": 13}),
        ("1.1", {"conv1": 111, "pool1": 55, "pool3": 27, "pool5": 13}),
    ],
)
def test_sizes_of_table_1(version, sizes):
    model = SqueezeNet.build(alpha=0.1, version=version, include_top=False)
    found = {
        layer.name: layer.output.shape[1]
        for layer in model.layers
        if layer.name.startswith(("conv", "pool"))
    }
    assert found == sizes


@pytest.mark.parametrize(
    "bypass, added",
    [("none", ""), ("simple", "3579"), ("complex", "23456789")],
)
def test_inputs_of_modules_are_added_to_their_outputs(bypass, added):
    """Figure 2: every module, computed from what comes in and its layers."""
    model = distinct_weights(
        SqueezeNet.build(
            (35, 36),
            0.25,
            bypass=bypass,
            classes=5,
            classifier_activation=None,
        )
    )
    names = [layer.name for layer in model.layers]
    assert [n for n in names if n.endswith("_add")] == [
        f"fire{number}_add" for number in added
    ]
    x = np.random.default_rng(0).normal(size=(2, 35, 36, 3)).astype("float32")
    wanted = model.get_layer("conv1")(x)
    for number in range(2, 10):
        if number in (2, 5, 9):
            wanted = model.get_layer(f"pool{number - 1}")(wanted)
        name = f"fire{number}"
        layer = {
            part: model.get_layer(f"{name}_{part}")
            for part in ("squeeze1x1", "expand1x1", "expand3x3")
        }
        before, squeezed = wanted, layer["squeeze1x1"](wanted)
        wanted = keras.ops.concatenate(
            [layer["expand1x1"](squeezed), layer["expand3x3"](squeezed)], -1
        )
        if str(number) in added and number % 2:
            wanted = before + wanted
        elif str(number) in added:
            wanted = model.get_layer(f"{name}_bypass")(before) + wanted
    wanted = keras.ops.mean(model.get_layer("conv10")(wanted), axis=(1, 2))
    wanted = keras.ops.convert_to_numpy(wanted)
    assert difference(wanted[0], wanted[1]) > 1e-2
    received = keras.ops.convert_to_numpy(model(x, training=False))
    assert difference(wanted, received) < 1e-5


def test_layers_are_activated_but_those_that_bypass():
    model = SqueezeNet.build((35, 35), 0.25, bypass="complex")
    linear = {
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
        and layer.activation is keras.activations.linear
    }
    assert linear == {f"fire{number}_bypass" for number in (2, 4, 6, 8)}


@pytest.mark.parametrize(
    "option, message",
    [
        ({"version": "1.2"}, r"`version` must be one of \('1.0', '1.1'\).*1.2"),
        ({"version": 1.0}, "Received: version=1.0"),
        ({"bypass": "both"}, "`bypass` must be one of .*'complex'.*='both'"),
        ({"bypass": None}, "Received: bypass=None"),
        ({"alpha": 0.05}, r"'fire2' int\(0.05 \* 16\) = 0.*alpha=1/16"),
    ],
)
def test_errors(option, message):
    with pytest.raises(ValueError, match=message):
        SqueezeNet.build(**option)
