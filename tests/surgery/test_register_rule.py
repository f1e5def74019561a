"""Layers of the user's own."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from removal_oracle import assert_exact

from fritz_compress import surgery


class Doubled(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


class Shifted(layers.Layer):
    def call(self, inputs):
        return inputs + 1


class Weighted(layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight(shape=(input_shape[-1],), name="scale")

    def call(self, inputs):
        return inputs * self.scale


class Forgetful(Weighted):
    """Its rule forgets a weight."""


def network(layer):
    return distinct_weights(
        keras.Sequential(
            [
                keras.Input((6, 6, 3)),
                layers.Conv2D(8, 3, name="conv"),
                layer,
                layers.Dense(3, name="head"),
            ]
        )
    )


def test_before_and_after_a_rule():
    model = network(Doubled(name="own"))
    groups = surgery.channel_groups(model)
    assert groups.whole == {"own": "Doubled has no rule"}
    assert surgery.register_rule(Doubled, "elementwise") is None
    (group,) = surgery.channel_groups(model).of("conv")
    assert group.keeps_zero
    assert_exact(model, {"conv": [1, 6]}, {"head": (0, [1, 6])})


def test_elementwise_that_revives():
    surgery.register_rule(Shifted, "elementwise")
    model = network(Shifted())
    (group,) = surgery.channel_groups(model).of("conv")
    assert "Shifted" in group.revived
    assert_exact(model, {"conv": [1, 6]}, {"head": (0, [1, 6])})


def test_a_rule_with_weights():
    @surgery.register_rule(Weighted)
    def weighted(call):
        call.weight("scale", makes={0: call.channels()})
        return [call.input()]

    model = network(Weighted(name="own"))
    smaller = assert_exact(model, {"conv": [1, 6]}, {"head": (0, [1, 6])})
    np.testing.assert_array_equal(
        smaller.get_layer("own").scale,
        np.delete(model.get_layer("own").scale, [1, 6]),
    )
    (group,) = surgery.channel_groups(model).of("conv")
    assert group.followers == ("own",)


def test_a_rule_that_forgets_a_weight_is_not_trusted():
    surgery.register_rule(Forgetful, "elementwise")
    groups = surgery.channel_groups(network(Forgetful(name="own")))
    assert groups.whole == {
        "own": "Forgetful has weights without a rule: scale"
    }


def test_a_rule_that_misspells_a_weight_is_quoted():
    class Misspelled(Weighted):
        pass

    @surgery.register_rule(Misspelled)
    def misspelled(call):
        call.weight("scales", makes={0: call.channels()})
        return [call.input()]

    groups = surgery.channel_groups(network(Misspelled(name="own")))
    assert groups.whole == {
        "own": "Misspelled has weights without a rule: scale (its rule names "
        "scales)"
    }


def test_a_rule_with_the_wrong_number_of_labels():
    class Halved(Weighted):
        pass

    @surgery.register_rule(Halved)
    def halved(call):
        call.weight("scale", makes={0: call.channels()[::2]})
        return [call.input()]

    with pytest.raises(ValueError, match="gave 4 labels to axis 0 of 'scale'"):
        surgery.channel_groups(network(Halved()))


@pytest.mark.parametrize(
    "arguments, text",
    [
        ((Doubled(), "elementwise"), "Pass the class, not a layer"),
        ((int, "elementwise"), "must be a subclass of keras.Layer"),
        ((Doubled, "per_channel"), "must be 'elementwise' or a function"),
    ],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(TypeError, match=text):
        surgery.register_rule(*arguments)


@pytest.mark.parametrize("returned", [None, [], "value", [1]])
def test_a_rule_must_return_a_value_per_output(returned):
    class Odd(Doubled):
        pass

    surgery.register_rule(Odd, lambda call: returned)
    with pytest.raises(TypeError, match="'own' .Odd. must return a list with"):
        surgery.channel_groups(network(Odd(name="own")))
