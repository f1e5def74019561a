"""Both ShuffleNets against their papers' figures, in numpy."""

import keras
import numpy as np
import plain_layers as plain
import pytest
from applications import difference, settle_statistics
from helpers import distinct_weights
from short_networks import REPEATS, Short1, Short2

from fritz_compress.models import ShuffleNetV1, ShuffleNetV2


class Begin1(ShuffleNetV1):
    repeats = (1,)


class Begin2(ShuffleNetV2):
    repeats = (1, 1, 1)


WEIGHTS = ("gamma", "beta", "moving_mean", "moving_variance")


class Numpy:
    """A network of numpy with the weights of one of Keras."""

    def __init__(self, model):
        self.weights = {
            w.path: keras.ops.convert_to_numpy(w) for w in model.weights
        }

    def normalized(self, x, name):
        layer = f"{name}_normalization"
        return plain.normalized(
            x, *(self.weights[f"{layer}/{weight}"] for weight in WEIGHTS)
        )

    def convolution(self, x, name, **options):
        kernel = self.weights[f"{name}_convolution/kernel"]
        return self.normalized(plain.convolution(x, kernel, **options), name)

    def depthwise(self, x, stride, name):
        kernel = self.weights[f"{name}_convolution/kernel"]
        return self.normalized(plain.depthwise(x, kernel, stride), name)

    def entrance(self, x):
        x = self.convolution(x, "stem", stride=2, padding=1)
        return plain.maximum(plain.relu(x), 3, 2, padding=1)

    def top(self, x):
        x = x.mean(axis=(1, 2)) @ self.weights["predictions/kernel"]
        return x + self.weights["predictions/bias"]


def dealt(x, groups):
    size = x.shape[-1] // groups
    order = [g * size + i for i in range(size) for g in range(groups)]
    return x[..., order]


class Version1(Numpy):
    """Figure 2 of https://arxiv.org/abs/1707.01083, (b) and (c)."""

    def __call__(self, x, groups, shuffle):
        x = self.entrance(x)
        for stage, repeats in enumerate(REPEATS, 2):
            for repeat in range(1, repeats + 1):
                name = f"stage_{stage}_{repeat}"
                x = self.unit(x, groups, shuffle, repeat == 1, name)
        return self.top(x)

    def unit(self, x, groups, shuffle, strided, name):
        first = 1 if name == "stage_2_1" else groups
        y = plain.relu(self.convolution(x, f"{name}_in", groups=first))
        y = dealt(y, groups) if shuffle else y
        y = self.depthwise(y, 2 if strided else 1, f"{name}_depthwise")
        y = self.convolution(y, f"{name}_out", groups=groups)
        if not strided:
            return plain.relu(x + y)
        x = plain.mean(x, 3, 2, padding=1)
        return plain.relu(np.concatenate([x, y], axis=-1))


class Version2(Numpy):
    """Figure 3 of https://arxiv.org/abs/1807.11164, (c) and (d)."""

    def __call__(self, x):
        x = self.entrance(x)
        for stage, repeats in enumerate(REPEATS, 2):
            for repeat in range(1, repeats + 1):
                x = self.unit(x, repeat == 1, f"stage_{stage}_{repeat}")
        return self.top(plain.relu(self.convolution(x, "last")))

    def unit(self, x, strided, name):
        y = x
        if not strided:
            x, y = np.split(x, 2, axis=-1)
        else:
            x = self.depthwise(x, 2, f"{name}_side_depthwise")
            x = plain.relu(self.convolution(x, f"{name}_side_out"))
        y = plain.relu(self.convolution(y, f"{name}_in"))
        y = self.depthwise(y, 2 if strided else 1, f"{name}_depthwise")
        y = plain.relu(self.convolution(y, f"{name}_out"))
        return dealt(np.concatenate([x, y], axis=-1), 2)


def assert_equal(model, network, *arguments):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, *model.input_shape[1:])).astype("float32")
    settle_statistics(distinct_weights(model), x, rng)
    received = keras.ops.convert_to_numpy(model(x[:2], training=False))
    wanted = network(model)(x[:2], *arguments)
    assert difference(wanted[0], wanted[1]) > 1e-2
    assert difference(wanted, received) < 1e-4


@pytest.mark.parametrize(
    "size, groups, shuffle",
    [((32, 32), 3, True), ((31, 45), 8, True), ((32, 32), 3, False)],
)
def test_version_1_is_that_of_the_paper(size, groups, shuffle):
    model = Short1.build(
        size,
        0.25,
        groups,
        shuffle,
        classes=5,
        classifier_activation=None,
    )
    assert_equal(model, Version1, groups, shuffle)


@pytest.mark.parametrize("size", [(32, 32), (31, 45)])
def test_version_2_is_that_of_the_paper(size):
    model = Short2.build(size, 0.25, classes=5, classifier_activation=None)
    assert_equal(model, Version2)


def kinds(model, name):
    return sum(type(layer).__name__ == name for layer in model.layers)


def test_a_shuffle_more_costs_nothing():
    arguments = {"image_size": (32, 32), "alpha": 0.25}
    shuffled = Short1.build(**arguments)
    plainly = Short1.build(**arguments, shuffle=False)
    alone = Short1.build(**arguments, groups=1)
    assert shuffled.count_params() == plainly.count_params()
    counts = [kinds(m, "ChannelShuffle") for m in (shuffled, plainly, alone)]
    assert counts == [7, 0, 0]


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("alpha", [0.05, 0.25, 0.37, 1.9, 3])
def test_version_1_has_widths_that_groups_divide(alpha, groups):
    model = Begin1.build((32, 32), alpha, groups, include_top=False)
    inside = model.get_layer("stage_2_1_in_convolution").filters
    width = model.output_shape[-1]
    assert inside % groups == 0 and width == 4 * inside
    # Off by half a step at most, or up by less than one.
    wanted, step = alpha * ShuffleNetV1.widths[groups], 4 * groups
    assert max(0.9 * wanted, wanted - step / 2) <= width < wanted + step


@pytest.mark.parametrize(
    "alpha, groups, stem",
    [
        # As in the authors' code, which has no others.
        (0.5, 3, 12),
        (1.0, 3, 24),
        (1.5, 3, 24),
        (2.0, 3, 48),
        (0.5, 8, 16),
        (1.0, 8, 24),
        (1.5, 8, 24),
        (2.0, 8, 48),
        # In between, and below.
        (1.2, 3, 24),
        (0.25, 3, 6),
        (0.25, 8, 8),
    ],
)
def test_the_stem_of_version_1(alpha, groups, stem):
    model = Begin1.build((32, 32), alpha, groups, include_top=False)
    assert model.get_layer("stem_convolution").filters == stem


@pytest.mark.parametrize(
    "alpha, widths",
    [
        (0.5, [24, 48, 96, 192, 1024]),
        (1, [24, 116, 232, 464, 1024]),
        (2, [24, 244, 488, 976, 2048]),
        # Multiples of 8, of 2 and of 8: 6, 29, 256; 18, 87, 768.
        (0.25, [8, 30, 60, 120, 256]),
        (0.75, [24, 88, 176, 352, 768]),
    ],
)
def test_widths_of_version_2(alpha, widths):
    model = Begin2.build((32, 32), alpha, include_top=False)
    names = [f"stage_{stage}_1_concatenate" for stage in (2, 3, 4)]
    assert [
        model.get_layer(name).output.shape[-1]
        for name in ("stem_convolution", *names, "last_convolution")
    ] == widths


@pytest.mark.parametrize("groups", [5, 0, "3", None, [3]])
def test_groups_that_the_paper_does_not_have(groups):
    with pytest.raises(
        ValueError, match="`groups` must be one of 1, 2, 3, 4, 8. Received: gr"
    ):
        ShuffleNetV1.build(groups=groups)


@pytest.mark.parametrize(
    "builder, layer, width",
    [(ShuffleNetV1, "stage_2", 240), (ShuffleNetV2, "stem", 24)],
)
def test_an_alpha_that_empties_a_layer(builder, layer, width):
    with pytest.raises(
        ValueError,
        match=rf"layer '{layer}' int\(0.001 \* {width}\) = 0. Use at least "
        f"alpha=1/{width}",
    ):
        builder.build(alpha=0.001)


def test_a_subclass_replaces_the_shuffle():
    class Still(Begin2):
        @classmethod
        def shuffled(cls, x, groups, name):
            return keras.layers.Identity(name=name)(x)

    model = Still.build((32, 32), 0.25, classes=5)
    assert (kinds(model, "Identity"), kinds(model, "ChannelShuffle")) == (3, 0)
