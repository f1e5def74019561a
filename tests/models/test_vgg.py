import keras

from fritz_compress.models import VGG16, CifarVGG16


def layers_of(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_the_width_multiplier_reaches_every_layer():
    model = VGG16.build((32, 32), 0.05, classes=7)
    assert [
        layer.filters for layer in layers_of(model, keras.layers.Conv2D)
    ] == [
        3,
        3,
        6,
        6,
        *[12] * 3,
        *[25] * 6,
    ]
    dense = layers_of(model, keras.layers.Dense)
    assert [layer.units for layer in dense] == [204, 204, 7]


def test_the_one_of_cifar_10_is_normalized():
    model = CifarVGG16.build(alpha=0.1)
    convolutions = layers_of(model, keras.layers.Conv2D)
    assert len(layers_of(model, keras.layers.BatchNormalization)) == 13
    assert len(layers_of(model, keras.layers.Activation)) == 13
    assert not any(layer.use_bias for layer in convolutions)
    dense = layers_of(model, keras.layers.Dense)
    assert [layer.units for layer in dense] == [51, 10]


def test_a_subclass_normalizes_otherwise():
    class Grouped(CifarVGG16):
        @classmethod
        def normalize(cls, x, name, activation="relu"):
            return keras.layers.GroupNormalization(1, name=name)(x)

    model = Grouped.build(alpha=0.1)
    assert len(layers_of(model, keras.layers.GroupNormalization)) == 13
