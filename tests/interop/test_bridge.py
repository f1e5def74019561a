"""A model on the other side must compute the same with the same weights."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers, ops

from fritz_compress import interop

tf_keras = pytest.importorskip(
    "tf_keras", reason="tf_keras: pip install fritz_compress[tfmot]"
)

LINE, SQUARE, CUBE = (10, 4), (8, 9, 4), (5, 6, 7, 4)
LINES = {
    "causal": lambda: layers.Conv1D(6, 3, padding="causal", dilation_rate=2),
    "transposed_1d": lambda: layers.Conv1DTranspose(3, 3, 2, "same"),
    "depthwise_1d": lambda: layers.DepthwiseConv1D(3, depth_multiplier=2),
    "separable_1d": lambda: layers.SeparableConv1D(3, 3, padding="same"),
    "dense": lambda: layers.Dense(
        3,
        activation="gelu",
        kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2),
        kernel_constraint="non_neg",
        kernel_initializer=keras.initializers.HeNormal(seed=3),
    ),
    "einsum": lambda: layers.EinsumDense("abc,cd->abd", (None, 5), None, "d"),
    "normalization": lambda: layers.Normalization(),
    "constant_normalization": lambda: layers.Normalization(
        mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 2.0, 3.0, 4.0]
    ),
    "relu": lambda: layers.ReLU(6.0, negative_slope=0.1, threshold=0.2),
    "leaky_relu": lambda: layers.LeakyReLU(0.2),
    "elu": lambda: layers.ELU(0.7),
    "max_pooling_1d": lambda: layers.MaxPooling1D(2),
    "average_pooling_1d": lambda: layers.AveragePooling1D(3, 2, "same"),
    "global_average_1d": lambda: layers.GlobalAveragePooling1D(keepdims=True),
    "global_max_1d": lambda: layers.GlobalMaxPooling1D(),
    "padding_1d": lambda: layers.ZeroPadding1D((1, 2)),
    "cropping_1d": lambda: layers.Cropping1D((1, 2)),
    "upsampling_1d": lambda: layers.UpSampling1D(2),
    "masking": lambda: layers.Masking(0.5),
    "dropout": lambda: layers.Dropout(0.3, noise_shape=(None, 1, 4), seed=1),
    "spatial_dropout_1d": lambda: layers.SpatialDropout1D(0.3),
    "alpha_dropout": lambda: layers.AlphaDropout(0.2),
    "gaussian_noise": lambda: layers.GaussianNoise(0.2),
    "gaussian_dropout": lambda: layers.GaussianDropout(0.2),
    "activity": lambda: layers.ActivityRegularization(0.1),
    "identity": lambda: layers.Identity(),
    "lstm": lambda: layers.LSTM(3, return_sequences=True, dropout=0.2),
    "gru": lambda: layers.GRU(3, go_backwards=True),
    "gru_of_2014": lambda: layers.GRU(3, reset_after=False),
    "simple_rnn": lambda: layers.SimpleRNN(3, activation="relu"),
    "cells": lambda: layers.RNN([layers.LSTMCell(2), layers.GRUCell(3)]),
    "bidirectional": lambda: layers.Bidirectional(layers.LSTM(3)),
    "two_directions": lambda: layers.Bidirectional(
        layers.GRU(3, return_sequences=True),
        merge_mode="sum",
        backward_layer=layers.GRU(
            3, return_sequences=True, go_backwards=True, activation="relu"
        ),
    ),
}
SQUARES = {
    "grouped": lambda: layers.Conv2D(6, 3, 2, "same", groups=2),
    "transposed_2d": lambda: layers.Conv2DTranspose(3, 4, 2, "same"),
    "output_padding": lambda: layers.Conv2DTranspose(
        3, 3, strides=2, output_padding=1
    ),
    "depthwise_2d": lambda: layers.DepthwiseConv2D(3, padding="same"),
    "separable_2d": lambda: layers.SeparableConv2D(3, 3, depth_multiplier=2),
    "batch_normalization": lambda: layers.BatchNormalization(),
    "normalization_of_rows": lambda: layers.BatchNormalization(axis=1),
    "layer_normalization": lambda: layers.LayerNormalization(),
    "normalization_of_all": lambda: layers.LayerNormalization(axis=[1, 2, 3]),
    "group_normalization": lambda: layers.GroupNormalization(2),
    "instance_normalization": lambda: layers.GroupNormalization(-1),
    "unit_normalization": lambda: layers.UnitNormalization(),
    "rescaling": lambda: layers.Rescaling(1 / 3, offset=0.5),
    "resizing": lambda: layers.Resizing(5, 6),
    "center_crop": lambda: layers.CenterCrop(4, 5),
    "prelu": lambda: layers.PReLU(shared_axes=[1, 2]),
    "softmax": lambda: layers.Softmax(axis=1),
    "max_pooling_2d": lambda: layers.MaxPooling2D(3, 2, "same"),
    "average_pooling_2d": lambda: layers.AveragePooling2D(2, padding="same"),
    "global_average_2d": lambda: layers.GlobalAveragePooling2D(),
    "global_max_2d": lambda: layers.GlobalMaxPooling2D(keepdims=True),
    "padding_2d": lambda: layers.ZeroPadding2D(((1, 2), (0, 3))),
    "cropping_2d": lambda: layers.Cropping2D(((1, 2), (0, 3))),
    "upsampling_2d": lambda: layers.UpSampling2D((2, 3)),
    "bilinear": lambda: layers.UpSampling2D(2, interpolation="bilinear"),
    "reshape": lambda: layers.Reshape((-1, 2)),
    "flatten": lambda: layers.Flatten(),
    "permute": lambda: layers.Permute((3, 1, 2)),
    "spatial_dropout_2d": lambda: layers.SpatialDropout2D(0.3),
    "distributed": lambda: layers.TimeDistributed(layers.Dense(3)),
    "distributed_normalization": lambda: layers.TimeDistributed(
        layers.BatchNormalization()
    ),
    "convolution_and_lstm_1d": lambda: layers.ConvLSTM1D(2, 3),
}
CUBES = {
    "convolution_3d": lambda: layers.Conv3D(5, 3, activation="silu"),
    "transposed_3d": lambda: layers.Conv3DTranspose(3, 3, 2),
    "max_pooling_3d": lambda: layers.MaxPooling3D(2),
    "average_pooling_3d": lambda: layers.AveragePooling3D(2),
    "global_average_3d": lambda: layers.GlobalAveragePooling3D(),
    "global_max_3d": lambda: layers.GlobalMaxPooling3D(),
    "padding_3d": lambda: layers.ZeroPadding3D(1),
    "cropping_3d": lambda: layers.Cropping3D(1),
    "upsampling_3d": lambda: layers.UpSampling3D(2),
    "spatial_dropout_3d": lambda: layers.SpatialDropout3D(0.3),
    "convolution_and_lstm_2d": lambda: layers.ConvLSTM2D(2, 3),
}
CASES = [
    *((name, LINE, make) for name, make in LINES.items()),
    *((name, SQUARE, make) for name, make in SQUARES.items()),
    *((name, CUBE, make) for name, make in CUBES.items()),
]
NAMES = [name for name, *_ in CASES]
ACTIVATIONS = """
    elu exponential gelu leaky_relu linear mish relu relu6 selu sigmoid silu
    softmax softplus softsign swish tanh
""".split()


def sample(model, seed=0):
    """A batch of three for each input, flat."""
    rng = np.random.default_rng(seed)
    shapes = [(t.shape[0] or 3, *t.shape[1:]) for t in model.inputs]
    return [
        (
            rng.integers(0, 6, shape)
            if "int" in tensor.dtype
            else rng.normal(size=shape)
        ).astype(tensor.dtype)
        for tensor, shape in zip(model.inputs, shapes)
    ]


def flat(outputs):
    return [np.asarray(value) for value in keras.tree.flatten(outputs)]


def assert_close(left, right):
    left, right = flat(left), flat(right)
    assert len(left) == len(right)
    for one, other in zip(left, right):
        assert one.shape == other.shape
        # Both compute in float32, 1.2e-7 of a number's own size.
        limit = 1e-6 * max(1, np.abs(one).max())
        assert np.abs(one - other).max() <= limit


def assert_same_weights(left, right):
    """Bit by bit, in whatever order the two list their layers."""
    left, right = left.get_weights(), right.get_weights()
    assert sorted(w.tobytes() for w in left) == sorted(
        w.tobytes() for w in right
    )


def round_trip(model, inputs=None):
    """There and back, compared twice; returns both models."""
    inputs = sample(model) if inputs is None else inputs
    if isinstance(model, keras.Sequential):
        (inputs,) = inputs
    else:
        inputs = keras.tree.pack_sequence_as(model.input, inputs)
    before = [weight.copy() for weight in model.get_weights()]
    expected = model(inputs)
    twin = interop.to_tf_keras(model)
    assert isinstance(twin, tf_keras.Model) and twin.name == model.name
    assert_close(expected, twin(inputs))
    assert_same_weights(model, twin)
    back = interop.from_tf_keras(twin)
    assert isinstance(back, keras.Model) and back.name == model.name
    assert_close(expected, back(inputs))
    assert_same_weights(model, back)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert (old == new).all()
    return twin, back


def names(model):
    return sorted(layer.name for layer in model.layers)


@pytest.mark.parametrize("name, shape, make", CASES, ids=NAMES)
def test_every_layer(name, shape, make):
    inputs = keras.Input(shape, name="picture")
    layer = make()
    model = distinct_weights(keras.Model(inputs, layer(inputs), name=name))
    if isinstance(layer, layers.Normalization):
        layer.finalize_state()
    twin, back = round_trip(model)
    assert names(twin) == names(back) == sorted(["picture", layer.name])
    assert type(twin.layers[1]).__name__ == type(layer).__name__
    assert back.layers[1].get_config().keys() == layer.get_config().keys()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation):
    inputs = keras.Input((7,))
    outputs = layers.Activation(activation)(inputs)
    if activation not in ("leaky_relu", "relu6"):
        outputs = layers.Dense(3, activation=activation)(outputs)
    round_trip(distinct_weights(keras.Model(inputs, outputs)))


def test_arguments_that_only_training_reads():
    inputs = keras.Input(LINE)
    outputs = LINES["dense"]()(inputs)
    outputs = layers.BatchNormalization(momentum=0.7, epsilon=1e-4)(outputs)
    model = keras.Model(inputs, outputs)
    model.layers[1].trainable = False
    twin, back = round_trip(model)
    for copy in (twin, back):
        dense, normalization = copy.layers[1:]
        assert not dense.trainable and normalization.trainable
        assert dense.kernel_regularizer.l1 == pytest.approx(0.1)
        assert dense.kernel_regularizer.l2 == pytest.approx(0.2)
        assert type(dense.kernel_constraint).__name__ == "NonNeg"
        assert type(dense.kernel_initializer).__name__ == "HeNormal"
        assert dense.kernel_initializer.get_config()["seed"] == 3
        assert (normalization.momentum, normalization.epsilon) == (0.7, 1e-4)


def test_merges_and_raw_operations():
    left = keras.Input((4, 6), name="left")
    right = keras.Input((4, 6), name="right")
    row = keras.Input(batch_shape=(4, 6), name="row")
    kernel = ops.transpose(right, (0, 2, 1))
    outputs = [
        *(layer([left, right]) for layer in (layers.Add(), layers.Average())),
        *(layer([left, right]) for layer in (layers.Maximum(), layers.Dot(2))),
        layers.Minimum()([left, right]),
        layers.Subtract()([left, right]) * layers.Multiply()([left, right]),
        layers.Concatenate(axis=1)([left, right]),
        *(left + right, left - right, left / right, -left, left**2),
        *(
            2.0 - left,
            left * 0.5 + 1.0,
            left + np.arange(6, dtype="float32"),
            left + row,
        ),
        *(ops.maximum(left, right), ops.minimum(left, right)),
        *(ops.concatenate([left, right], -1), left @ kernel),
        *(left[:, 1:], left[:, 0], left[..., ::2], left[:, None]),
        *(ops.relu(left), ops.relu6(left), ops.leaky_relu(left, 0.3)),
        *(ops.sigmoid(left), ops.tanh(left), ops.silu(left), ops.elu(left)),
        *(ops.softmax(left, 1), ops.softplus(left), ops.selu(left)),
        *(ops.reshape(left, (-1, 24)), ops.mean(left, 1), ops.max(left, 1)),
    ]
    model = keras.Model([left, right, row], outputs)
    round_trip(model)


def test_shared_layers_and_structures_of_inputs_and_outputs():
    inputs = {
        "b": keras.Input((5,), name="b"),
        "a": keras.Input((5,), name="a"),
    }
    shared = layers.Dense(3, name="shared")
    outputs = {
        "sum": shared(inputs["a"]) + shared(inputs["b"]),
        "pair": [shared(inputs["b"]), inputs["a"]],
    }
    model = distinct_weights(keras.Model(inputs, outputs))
    twin, back = round_trip(model)
    assert len(twin.weights) == len(back.weights) == 2
    for copy in (twin, back):
        values = {"a": np.ones((1, 5)), "b": np.zeros((1, 5))}
        assert set(copy(values)) == {"pair", "sum"}
        assert_close(model(values)["pair"], copy(values)["pair"])


def test_nested_models_are_flattened_and_shared_ones_stay_shared():
    encoder = keras.Sequential(
        [keras.Input((8,)), layers.Dense(4, name="dense"), layers.ReLU()],
        name="encoder",
    )
    inner = keras.Input((4,))
    head = keras.Model(
        inner, layers.Dense(2, name="dense")(inner) + 1.0, name="head"
    )
    left, right = keras.Input((8,)), keras.Input((8,))
    outputs = head(encoder(left) - encoder(right))
    model = distinct_weights(keras.Model([left, right], outputs))
    twin, back = round_trip(model)
    assert len(twin.weights) == len(back.weights) == 4
    assert {"encoder_dense", "head_dense"} < set(names(twin))
    assert {"encoder_dense", "head_dense"} < set(names(back))


def test_models_of_tf_keras_inside_each_other():
    encoder = tf_keras.Sequential(
        [tf_keras.Input((8,)), tf_keras.layers.Dense(4, name="dense")],
        name="encoder",
    )
    inner = tf_keras.Input((4,), name="inner")
    head = tf_keras.Model(
        {"inner": inner}, tf_keras.layers.Dense(2, name="dense")(inner)
    )
    left, right = tf_keras.Input((8,)), tf_keras.Input((8,))
    difference = encoder(left) - encoder(right) * 2.0
    model = tf_keras.Model([left, right], head({"inner": difference}))
    values = [np.random.default_rng(s).normal(size=(3, 8)) for s in (0, 1)]
    back = interop.from_tf_keras(model)
    assert_close(model(values), back(values))
    assert_same_weights(model, back)
    assert {"dense", "dense_1"} < set(names(back))


def test_a_sequential_model_and_one_inside_time_distributed():
    inner = keras.Sequential(
        [keras.Input((6, 4)), layers.Conv1D(3, 3), layers.Flatten()]
    )
    model = keras.Sequential(
        [
            keras.Input((5, 6, 4)),
            layers.TimeDistributed(inner),
            layers.GRU(3),
            layers.Dense(2, activation="softmax"),
        ]
    )
    twin, back = round_trip(distinct_weights(model))
    assert isinstance(back.layers[1].layer, keras.Model)
    built_late = keras.Sequential([layers.Dense(3)])
    built_late.build((None, 4))
    round_trip(distinct_weights(built_late))


def test_states_and_attention():
    words = keras.Input((7,), dtype="int32", name="words")
    embedded = layers.Embedding(6, 4)(words)
    sequence, *state = layers.LSTM(4, return_sequences=True, return_state=True)(
        embedded
    )
    decoded = layers.LSTM(4, return_sequences=True)(
        sequence, initial_state=state
    )
    both = layers.Bidirectional(layers.GRU(2, return_sequences=True))(embedded)
    attended = layers.MultiHeadAttention(2, 3, value_dim=5, output_shape=4)(
        decoded, both, use_causal_mask=True
    )
    attended, scores = layers.MultiHeadAttention(2, 3, use_bias=False)(
        decoded, attended, key=both, return_attention_scores=True
    )
    luong = layers.Attention(use_scale=True)([attended, both])
    bahdanau = layers.AdditiveAttention()([attended, both])
    model = keras.Model(words, [luong, bahdanau, scores])
    round_trip(distinct_weights(model))


MASKED = {
    "bidirectional": lambda x: layers.GlobalAveragePooling1D()(
        layers.TimeDistributed(layers.Dense(3))(
            layers.Bidirectional(layers.GRU(2, return_sequences=True))(x)
        )
    ),
    "merged": lambda x: layers.GRU(3)(layers.Add()([x, x])),
    "masking": lambda x: layers.LSTM(3)(layers.Masking(0.1)(x)),
    "attention": lambda x: layers.MultiHeadAttention(2, 3)(x, x),
    "ended": lambda x: layers.LSTM(3)(x) * layers.GRU(3)(x) + 1.0,
}


@pytest.mark.parametrize("build", MASKED.values(), ids=MASKED.keys())
def test_masks_that_both_hand_on_alike(build):
    words = keras.Input((7,), dtype="int32")
    embedded = layers.Embedding(6, 4, mask_zero=True)(words)
    model = distinct_weights(keras.Model(words, build(embedded)))
    padded = np.array([[1, 2, 3, 4, 5, 1, 2], [3, 2, 5, 0, 0, 0, 0]])
    unpadded = padded + (padded == 0)
    assert np.abs(model(padded) - model(unpadded))[1].max() > 1e-3
    round_trip(model, [padded])


@pytest.mark.parametrize(
    "build",
    [
        lambda x: layers.GRU(3)(x * 2.0),
        lambda x: layers.Attention()([x, x]),
        lambda x: layers.GRU(4)(x, initial_state=layers.GRU(4)(x)),
    ],
)
def test_masks_that_both_treat_differently(build):
    words = keras.Input((7,), dtype="int32")
    embedded = layers.Embedding(6, 4, mask_zero=True)(words)
    with pytest.raises(ValueError, match="without a mask.*`mask_zero`"):
        interop.to_tf_keras(keras.Model(words, build(embedded)))
    words = tf_keras.Input((7,), dtype="int32")
    embedded = tf_keras.layers.Embedding(6, 4, mask_zero=True)(words)
    model = tf_keras.Model(words, embedded + embedded)
    with pytest.raises(ValueError, match="without a mask.*`mask_zero`"):
        interop.from_tf_keras(model)


def test_mixed_precision():
    inputs = keras.Input((6,))
    outputs = layers.Dense(4, dtype="mixed_float16")(inputs)
    outputs = layers.Dense(3, dtype="float32")(outputs)
    twin, back = round_trip(distinct_weights(keras.Model(inputs, outputs)))
    for copy in (twin, back):
        assert copy.layers[1].compute_dtype == "float16"
        assert copy.layers[2].compute_dtype == "float32"


def test_initializers_that_only_one_side_knows():
    inputs = keras.Input((4,))
    dense = layers.Dense(3, kernel_initializer=Thirds())
    round_trip(keras.Model(inputs, dense(inputs)))


@keras.saving.register_keras_serializable("test_bridge")
class Thirds(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return ops.full(shape, 1 / 3, dtype)


class Doubling(layers.Layer):
    def call(self, inputs):
        return inputs * 2


class Dense(layers.Dense):
    """One that happens to be called like a layer of Keras."""


def lora():
    layer = layers.Dense(3, lora_rank=1)
    layer.build((None, 8, 4))
    return layer


UNKNOWN = {
    "own": (lambda: Doubling(name="x"), "'x' must be one.*Doubling.*Replace"),
    "namesake": (lambda: Dense(3, name="x"), "'x' must be a layer of Keras"),
    "lambda": (lambda: layers.Lambda(lambda v: v, name="x"), "'x'.*a Lambda"),
    "rms": (lambda: layers.RMSNormalization(name="x"), "RMSNormalization"),
    "hard": (
        lambda: layers.Activation("hard_sigmoid", name="x"),
        r"'x' \(Activation\).*hard_sigmoid.*divides by 6",
    ),
    "in_dense": (
        lambda: layers.Dense(3, activation="relu6", name="x"),
        r"'x' \(Dense\) must have an activation.*'relu6'.*of its own",
    ),
    "layer_in_dense": (
        lambda: layers.Dense(3, activation=layers.ReLU(6.0)),
        "Received: 'ReLU'",
    ),
    "recurrent": (
        lambda: layers.Bidirectional(
            layers.LSTM(3, recurrent_activation="hard_sigmoid"), name="x"
        ),
        r"'x' \(LSTM\).*hard_sigmoid",
    ),
    "renorm": (
        lambda: layers.BatchNormalization(renorm=True, name="x"),
        r"'x' \(BatchNormalization\) must have `renorm=False`.*tf_keras",
    ),
    "lora": (lora, "must have `lora_rank=None`.*without this argument"),
    "penalty": (
        lambda: layers.Dense(3, kernel_regularizer=Halving(), name="x"),
        r"'x' \(Dense\) must have a `kernel_regularizer`.*Halving",
    ),
}


@keras.saving.register_keras_serializable("test_bridge")
class Halving(keras.regularizers.Regularizer):
    def __call__(self, x):
        return ops.sum(x) / 2

    def get_config(self):
        return {}


@pytest.mark.parametrize("make, message", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_tf_keras_does_not_have(make, message, monkeypatch):
    inputs = keras.Input((8, 4))
    model = keras.Model(inputs, make()(layers.Dense(4)(inputs)))
    monkeypatch.setattr(tf_keras, "Input", None)  # Nothing is begun.
    with pytest.raises(ValueError, match=message):
        interop.to_tf_keras(model)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.log(x),
        lambda x: ops.maximum(x, 0.5),
        lambda x: ops.reshape(x, (32, -1)),
        lambda x: ops.transpose(x, (1, 0, 2)),
        lambda x: ops.mean(x, axis=0),
        lambda x: ops.gelu(x, approximate=True),
    ],
)
def test_operations_that_tf_keras_does_not_have(function):
    inputs = keras.Input((8, 4))
    model = keras.Model(inputs, function(inputs))
    with pytest.raises(ValueError, match="Operation '.*must be one.*Write it"):
        interop.to_tf_keras(model)


def test_calls_that_tf_keras_does_not_have():
    inputs = keras.Input((8, 4))
    mask = keras.Input((8,), dtype="bool")
    attention = layers.MultiHeadAttention(2, 3, name="attention")
    outputs = attention(inputs, inputs, query_mask=mask)
    with pytest.raises(ValueError, match="'attention'.*'query_mask'"):
        interop.to_tf_keras(keras.Model([inputs, mask], outputs))


def test_what_keras_3_does_not_have():
    inputs = tf_keras.Input((8, 4))
    for layer, message in [
        (tf_keras.layers.ThresholdedReLU(), "a ThresholdedReLU"),
        (tf_keras.layers.Dense(2, activation="hard_sigmoid"), "hard_sigmoid"),
        (tf_keras.layers.LSTM(2, time_major=True), "`time_major=False`"),
        (tf_keras.layers.Softmax(robust_masking=True), "Keras 3 knows"),
    ]:
        model = tf_keras.Model(inputs, layer(inputs))
        with pytest.raises(ValueError, match=message):
            interop.from_tf_keras(model)
    model = tf_keras.Model(inputs, tf_keras.backend.exp(inputs))
    with pytest.raises(ValueError, match="Received: math.exp"):
        interop.from_tf_keras(model)


class Subclassed(tf_keras.Model):
    def call(self, inputs):
        return inputs


def test_what_is_no_graph():
    with pytest.raises(ValueError, match="Functional or a built Sequential"):
        interop.to_tf_keras(keras.Sequential([layers.Dense(3)]))
    for model in (tf_keras.Sequential([]), Subclassed(), "model"):
        with pytest.raises(ValueError, match="of tf_keras.*Received: "):
            interop.from_tf_keras(model)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
    with pytest.raises(TypeError, match="needs no translation"):
        interop.from_tf_keras(model)


def test_a_missing_tf_keras_is_named(monkeypatch):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
    monkeypatch.setitem(__import__("sys").modules, "tf_keras", None)
    for function in (interop.to_tf_keras, interop.from_tf_keras):
        with pytest.raises(ImportError, match=r"fritz_compress\[tfmot\]"):
            function(model)


def with_statistics(model, pictures):
    """Distinct weights, and normalizations that keep the signal alive."""
    distinct_weights(model)
    rng = np.random.default_rng(1)
    found = [
        layer
        for layer in model.layers
        if isinstance(layer, layers.BatchNormalization)
    ]
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()
    for layer in found:
        layer.momentum = 0.0
    model(pictures, training=True)
    for layer in found:
        layer.momentum = 0.99
        variance = layer.moving_variance
        # Channels that rest would be blown up, rounding and all.
        jitter = rng.uniform(0.8, 1.2, variance.shape)
        variance.assign(variance * jitter + 0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["MobileNet", "MobileNetV2", "ResNet50", "EfficientNetB0"]
)
def test_applications(name):
    """In float64: deep networks magnify what float32 rounds away."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = getattr(keras.applications, name)(
            weights=None,
            input_shape=(32, 32, 3),
            classes=10,
            classifier_activation=None,
        )
    finally:
        keras.config.set_dtype_policy(policy)
    rng = np.random.default_rng(0)
    pictures = rng.uniform(0, 255, (16, 32, 32, 3))
    with_statistics(model, pictures)
    outputs = np.asarray(model(pictures))
    # Far above the difference that is allowed, so that a mix-up shows.
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-4
    twin, back = round_trip(model, [pictures[:3]])
    assert twin.count_params() == back.count_params() == model.count_params()
    assert twin.layers[-1].compute_dtype == "float64"
