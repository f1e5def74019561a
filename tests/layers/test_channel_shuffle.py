import keras
import numpy as np
import pytest

from fritz_compress.layers import ChannelShuffle


def dealt(x, groups):
    """One channel of each group in turn, one after the other."""
    size = x.shape[-1] // groups
    order = [g * size + i for i in range(size) for g in range(groups)]
    return x[..., order]


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("shape", [(2, 12), (2, 5, 12), (2, 3, 4, 12)])
def test_deals_one_channel_of_each_group_in_turn(groups, shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    received = keras.ops.convert_to_numpy(ChannelShuffle(groups)(x))
    np.testing.assert_array_equal(received, dealt(x, groups))


def test_by_hand():
    shuffled = ChannelShuffle(2)(keras.ops.array([[0, 1, 2, 3, 4, 5]]))
    assert keras.ops.convert_to_numpy(shuffled).tolist() == [[0, 3, 1, 4, 2, 5]]


def test_is_undone_by_the_other_number_of_groups():
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 12)).astype("float32")
    again = ChannelShuffle(4)(ChannelShuffle(3)(x))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again), x)


@pytest.mark.parametrize("shape", [(None, None, 6), (None, 6), (4, None, 6)])
def test_any_size(shape, tmp_path):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, ChannelShuffle(3, name="shuffle")(inputs))
    assert model.output_shape == (None, *shape)
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.get_layer("shuffle").groups == 3
    sizes = [side or 5 for side in shape]
    x = np.random.default_rng(0).normal(size=(2, *sizes)).astype("float32")
    received = model.predict(x, verbose=0)
    np.testing.assert_array_equal(received, dealt(x, 3))


def test_gradients_go_back_to_where_they_came_from():
    inputs = keras.Input((6,))
    dense = keras.layers.Dense(6)
    model = keras.Model(inputs, ChannelShuffle(2)(dense(inputs)))
    model.compile(keras.optimizers.SGD(1.0), "mean_squared_error")
    dense.set_weights([np.zeros((6, 6)), np.arange(6)])
    # The outputs are 0 3 1 4 2 5: the third, which was the second, is off by
    # 6, and the gradient of the mean is 2 * 6 / 6.
    targets = np.array([[0, 3, 7, 4, 2, 5]], "float32")
    model.train_on_batch(np.zeros((1, 6)), targets)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(dense.bias), [0, 3, 2, 3, 4, 5], rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float16", "mixed_bfloat16"])
def test_half_precision(dtype):
    x = np.arange(12, dtype="float32").reshape(2, 6)
    received = ChannelShuffle(3, dtype=dtype)(x)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(keras.ops.cast(received, "float32")),
        dealt(x, 3),
    )


@pytest.mark.parametrize(
    "groups, error, message",
    [
        (0, ValueError, "`groups` must be at least 1. Received: groups=0"),
        (1.5, TypeError, "`groups` must be a whole number.*groups=1.5"),
        (True, TypeError, "`groups` must be a whole number.*groups=True"),
    ],
)
def test_groups_are_a_positive_whole_number(groups, error, message):
    with pytest.raises(error, match=message):
        ChannelShuffle(groups)


@pytest.mark.parametrize("channels", [8, None])
def test_groups_must_divide_the_channels(channels):
    with pytest.raises(
        ValueError,
        match=r"'deal': `groups` must divide the channels.*groups=3, "
        rf"input_shape=\(None, 4, 4, {channels}\)",
    ):
        ChannelShuffle(3, name="deal")(keras.Input((4, 4, channels)))
