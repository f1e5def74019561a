"""Signs and levels in a `.mlmodel`: exact, at every border between two."""

import keras
import numpy as np
import pytest
from keras import layers

from fritz_compress import quantizers
from fritz_compress.convert import neural_network_interpreter
from fritz_compress.convert.neural_network import build_network


def written(quantizer, shape=(1,)):
    model = keras.Sequential([keras.Input(shape), layers.Activation(quantizer)])
    return build_network(model).spec


def in_float16(spec, x):
    """A network of activations and sums, each step rounded to float16."""
    blobs = {spec.description.input[0].name: x.astype("float16")}
    for layer in spec.neuralNetwork.layers:
        values = [blobs[name] for name in layer.input]
        kind = layer.WhichOneof("layer")
        if kind == "add":
            result = sum(values[1:], values[0])
        else:
            kind = layer.activation.WhichOneof("NonlinearityType")
            params = getattr(layer.activation, kind)
            alpha, beta = np.float16(params.alpha), np.float16(params.beta)
            with np.errstate(over="ignore"):
                result = values[0] * alpha + beta
            if kind == "sigmoidHard":
                result = np.clip(result, 0, 1)
        assert result.dtype == "float16"
        blobs[layer.output[0]] = result
    return result


def test_signs_of_all_float16_numbers_are_exact():
    x = np.arange(2**16, dtype="uint16").view("float16")
    x = x[np.isfinite(x)]
    expected = np.where(x >= 0, 1, -1)
    signs = in_float16(written(quantizers.SteSign()), x)
    np.testing.assert_array_equal(signs, expected)


def test_signs_of_small_float32_numbers_are_exact():
    magnitudes = np.float32(2.0) ** np.arange(-45, 112)
    x = np.concatenate([magnitudes, -magnitudes, [0, -0.0]])[:, None]
    spec = written(quantizers.SteSign())
    signs = neural_network_interpreter.load(spec)(x)
    np.testing.assert_array_equal(signs, np.where(x >= 0, 1, -1))


@pytest.mark.parametrize("nbits", range(1, 9))
@pytest.mark.parametrize("kind", [quantizers.DoReFa, quantizers.EvenLevels])
def test_levels_are_those_of_keras_at_all_borders(kind, nbits):
    top = 2**nbits - 1
    middles = (np.arange(top) + 0.5) / top
    if kind is quantizers.EvenLevels:
        middles = 2 * middles - 1
    middles = middles.astype("float32")
    x = [middles, *(np.nextafter(middles, np.float32(e)) for e in (-9, 9))]
    x = np.concatenate([*x, np.linspace(-1.5, 1.5, 97)]).astype("float32")
    x = x[:, None]
    received = neural_network_interpreter.load(written(kind(nbits)))(x)
    expected = keras.ops.convert_to_numpy(kind(nbits)(x))
    np.testing.assert_allclose(received, expected, atol=3e-7)


def test_ternary_levels_are_those_of_keras_at_the_threshold():
    threshold = np.float32(0.05)
    x = np.array(
        [
            [sign * t]
            for sign in (1, -1)
            for t in (threshold, np.nextafter(threshold, np.float32(0)), 0, 1)
        ]
    )
    spec = written(quantizers.SteTern(0.05))
    received = neural_network_interpreter.load(spec)(x)
    assert received.ravel().tolist() == [1, 0, 0, 1, -1, 0, 0, -1]
