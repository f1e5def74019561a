import keras
import numpy as np
import pytest

from fritz_compress.layers import DepthToSpace


@pytest.mark.parametrize("block, channels", [(2, 1), (2, 5), (4, 3)])
def test_every_number_is_where_the_definition_says(block, channels):
    x = np.random.default_rng(0).normal(size=(2, 3, 5, block**2 * channels))
    y = np.asarray(DepthToSpace(block)(x.astype("float32")))
    assert y.shape == (2, 3 * block, 5 * block, channels)
    for i in range(block):
        for j in range(block):
            for c in range(channels):
                np.testing.assert_array_equal(
                    y[:, i::block, j::block, c],
                    x[..., (i * block + j) * channels + c].astype("float32"),
                )


def test_it_is_a_transposed_convolution_behind_a_1x1_convolution():
    """Of a kernel as large as its stride."""
    kernel = np.random.default_rng(1).normal(size=(4, 4, 3, 6))
    x = np.random.default_rng(0).normal(size=(1, 5, 7, 6)).astype("float32")
    layer = keras.layers.Conv2DTranspose(3, 4, strides=4, use_bias=False)
    layer.build(x.shape)
    layer.set_weights([kernel])
    flat = kernel.reshape(48, 6).T.astype("float32")
    np.testing.assert_allclose(
        DepthToSpace(4)(x @ flat), layer(x), rtol=1e-4, atol=1e-5
    )


def test_a_saved_model_of_any_size_loads(tmp_path):
    inputs = keras.Input((None, 6, 18))
    model = keras.Model(inputs, DepthToSpace(3, name="d")(inputs))
    assert model.output_shape == (None, None, 18, 2)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 18)).astype("float32")
    np.testing.assert_array_equal(again(x), model(x))
    assert again.get_layer("d").get_config()["block_size"] == 3


@pytest.mark.parametrize("block_size", [1, 0, -4, 2.0, "2", None])
def test_the_block_must_be_a_whole_number(block_size):
    with pytest.raises(ValueError, match="whole number of at least 2"):
        DepthToSpace(block_size)


@pytest.mark.parametrize("shape", [(2, 4, 4, 6), (2, 4, 16), (1, 4, 4, None)])
def test_channels_must_fill_blocks(shape):
    with pytest.raises(ValueError, match="'d' expects.*multiple of.*=16.*Rec"):
        DepthToSpace(4, name="d").build(shape)
