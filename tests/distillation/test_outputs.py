import keras
import pytest
from keras import layers, ops

from fritz_compress.distillation.outputs import gives_logits


def ending(*last):
    return keras.Sequential([keras.Input((6,)), layers.Dense(4), *last])


@pytest.mark.parametrize(
    "model, logits",
    [
        (ending(), True),
        (ending(layers.Dense(3, activation="softmax")), False),
        (ending(layers.Softmax()), False),
        (ending(layers.Activation("softmax")), False),
        (ending(layers.Activation(layers.Softmax())), False),
        (ending(layers.Softmax(), layers.Reshape((2, 2))), False),
        (
            ending(
                layers.Softmax(), layers.Activation("linear", dtype="float32")
            ),
            False,
        ),
        (ending(layers.ReLU()), True),
        (ending(layers.Identity()), True),
    ],
)
def test_the_last_layer_tells(model, logits):
    assert gives_logits(model) == (logits,)


def test_every_output_is_looked_at():
    inputs = keras.Input((6,))
    inner = ending(layers.Softmax())
    model = keras.Model(
        inputs, [inner(inputs), inputs, ops.softmax(layers.Dense(2)(inputs))]
    )
    assert gives_logits(model) == (False, True, False)


def test_models_that_do_not_tell_are_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="'own', which has no graph. Say `fr"):
        gives_logits(Own(name="own"))
    with pytest.raises(ValueError, match="whose layer 'yes' ends in a sigmoid"):
        gives_logits(ending(layers.Dense(1, activation="sigmoid", name="yes")))
