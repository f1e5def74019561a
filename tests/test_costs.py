"""Multiplications of every kind of layer, counted by hand."""

import inspect

import keras
import pytest
from keras import layers, ops
from layer_costs import APART, COUNTED, FREE, PICTURE, SEQUENCE, UNKNOWN

from fritz_compress import costs
from fritz_compress import layers as ours
from fritz_compress.analysis import Cost, profile, register_cost


def inputs_of(shapes):
    """Inputs of these shapes; one that begins with a type has it."""
    return [
        (
            keras.Input(shape[1:], dtype=shape[0])
            if isinstance(shape[0], str)
            else keras.Input(shape)
        )
        for shape in shapes
    ]


def model_of(make, shapes):
    inputs, layer = inputs_of(shapes), make()
    if isinstance(
        layer, (layers.MultiHeadAttention, layers.GroupQueryAttention)
    ):
        outputs = layer(*inputs)
    else:
        outputs = layer(inputs if len(inputs) > 1 else inputs[0])
    return keras.Model(inputs, outputs)


def counted(model):
    """Multiply-accumulates and other multiplications of a model."""
    found = profile(model)
    return found.macs, sum(found.multiplications.values()) - found.macs


@pytest.mark.parametrize("case", COUNTED)
def test_layers_counted_by_hand(case):
    make, shapes, macs, others = COUNTED[case]
    model = model_of(make, shapes)
    found = profile(model)
    (row,) = found.layers
    assert row.kind == getattr(layers, case.split(",")[0]).__name__
    assert (row.macs, row.multiplications - row.macs) == (macs, others)
    assert found.unknown == ()
    assert row.parameters == found.trainable + sum(
        keras.ops.size(w) for w in model.non_trainable_weights
    )
    assert row.bytes == 4 * model.count_params()


def test_every_layer_of_keras_has_an_entry():
    counted_here = {case.split(",")[0] for case in COUNTED}
    names = [*counted_here, *APART, *FREE, *UNKNOWN, "Layer"]
    entries = [getattr(layers, name) for name in names]
    public = {
        value
        for value in vars(layers).values()
        if inspect.isclass(value) and issubclass(value, keras.Layer)
    }
    assert set(entries) == public
    assert len(entries) == len(public)


@pytest.mark.parametrize("name", FREE)
def test_layers_that_cost_nothing(name):
    assert costs.find_rule(getattr(layers, name))(None) == Cost(0, 0)


@pytest.mark.parametrize("name", UNKNOWN)
def test_layers_that_nobody_can_tell(name):
    assert costs.find_rule(getattr(layers, name))(None) == Cost(
        None, None, None
    )


@pytest.mark.parametrize("name", ours.__all__)
def test_our_own_layers_have_a_rule(name):
    assert costs.find_rule(getattr(ours, name)) is not None


def test_fourier_transforms_count_as_if_of_two():
    """One of 16 numbers forth and back, one of 8 likewise; 4 a product."""
    inputs = keras.Input((3, 8))
    layer = ours.ToeplitzLikeDense(5, 1, activation="softmax")
    model = keras.Model(inputs, layer(inputs))
    steps = 2 * 16 * 4 + 2 * 8 * 3 + 4 * 9 + 4 * 5
    assert counted(model) == (3 * steps, 3 * 5)


def test_cells_count_one_step():
    x, h, c = keras.Input((6,)), keras.Input((4,)), keras.Input((4,))
    one = layers.SimpleRNNCell(4)
    gru, lstm = layers.GRUCell(4), layers.LSTMCell(4)
    assert counted(keras.Model([x, h], one(x, h)[0])) == (4 * 10, 0)
    assert counted(keras.Model([x, h], gru(x, [h])[0])) == (3 * 4 * 10, 12)
    model = keras.Model([x, h, c], lstm(x, [h, c])[0])
    assert counted(model) == (4 * 4 * 10, 12)


def test_stacked_cells_count_like_their_layers():
    cells = [layers.LSTMCell(4), layers.GRUCell(3), layers.LSTMCell(2)]
    stacked = keras.Sequential(
        [keras.Input(SEQUENCE), layers.RNN(layers.StackedRNNCells(cells))]
    )
    macs = 4 * 4 * (6 + 4) + 3 * 3 * (4 + 3) + 4 * 2 * (3 + 2)
    assert counted(stacked) == (8 * macs, 8 * 3 * (4 + 3 + 2))


def test_cells_of_the_user_are_not_known():
    class Decay(keras.layers.Layer):
        state_size = output_size = 6

        def call(self, inputs, states):
            state = 0.9 * states[0] + inputs
            return state, [state]

    model = keras.Sequential(
        [keras.Input(SEQUENCE), layers.RNN(Decay(), name="decaying")]
    )
    assert profile(model).unknown == ("decaying",)


def test_an_embedding_backwards_is_a_dense_layer():
    embedding = layers.ReversibleEmbedding(10, 4, logit_soft_cap=5.0)
    tokens = keras.Input((8,), dtype="int32")
    model = keras.Model(tokens, embedding(embedding(tokens), reverse=True))
    assert counted(model) == (8 * 4 * 10, 2 * 8 * 10)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="strings are TensorFlow's"
)
def test_rarity_is_a_factor_of_each_word():
    words = ["a", "b", "c"]
    weighted = layers.StringLookup(
        vocabulary=words, output_mode="tf_idf", idf_weights=[1.0, 2.0, 3.0]
    )
    text = layers.TextVectorization(vocabulary=words)
    for layer, others in ((weighted, 4), (text, 0)):
        inputs = keras.Input((1,), dtype="string")
        assert counted(keras.Model(inputs, layer(inputs))) == (0, others)


# A function of tensors x of shape (8, 6), its MACs and other products.
OPERATIONS = {
    "matmul": (lambda x: ops.matmul(x, ops.ones((6, 5))), 8 * 6 * 5, 0),
    "matmul of two": (
        lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))),
        8 * 8 * 6,
        0,
    ),
    "@": (lambda x: x @ ops.ones((6, 5)), 8 * 6 * 5, 0),
    "dot": (lambda x: ops.dot(x, ops.ones((6, 5))), 8 * 6 * 5, 0),
    "tensordot by count": (
        lambda x: ops.tensordot(x, ops.ones((8, 6, 5)), 2),
        8 * 6 * 5,
        0,
    ),
    "einsum": (
        lambda x: ops.einsum("bij,bkj->bik", x, x),
        8 * 8 * 6,
        0,
    ),
    "einsum outer": (
        lambda x: ops.einsum("bij,k->bijk", x, ops.ones((5,))),
        0,
        8 * 6 * 5,
    ),
    # Both matrices first; the other order takes 8 * 6 * 5 + 8 * 5 * 2.
    "einsum of three": (
        lambda x: ops.einsum(
            "bij,jk,kl->bil", x, ops.ones((6, 5)), ops.ones((5, 2))
        ),
        6 * 5 * 2 + 8 * 6 * 2,
        0,
    ),
    "einsum without an arrow": (
        lambda x: ops.einsum("...ij,jk", x, ops.ones((6, 5))),
        8 * 6 * 5,
        0,
    ),
    "inner": (lambda x: ops.inner(x, ops.ones((5, 6))), 8 * 6 * 5, 0),
    "outer": (lambda x: ops.outer(x, ops.ones((5,))), 0, 8 * 6 * 5),
    "conv": (
        lambda x: ops.conv(x, ops.ones((3, 6, 4)), padding="valid"),
        6 * 4 * 3 * 6,
        0,
    ),
    "conv_transpose": (
        lambda x: ops.conv_transpose(x, ops.ones((3, 4, 6)), 2),
        8 * 6 * 3 * 4,
        0,
    ),
    "depthwise_conv": (
        lambda x: ops.depthwise_conv(x, ops.ones((3, 6, 2))),
        6 * 12 * 3,
        0,
    ),
    "separable_conv": (
        lambda x: ops.separable_conv(
            x, ops.ones((3, 6, 1)), ops.ones((1, 6, 4))
        ),
        6 * 6 * 3 + 6 * 4 * 6,
        0,
    ),
    "dot_product_attention": (
        lambda x: ops.dot_product_attention(
            *(ops.reshape(x, (-1, 8, 2, 3)) for _ in range(3))
        ),
        2 * (2 * 8 * 8 * 3),
        8 * 6 + 2 * 8 * 8,
    ),
    "factors": (lambda x: x * 2 / 3 * x, 0, 3 * 48),
    "power": (lambda x: x**3, 0, 2 * 48),
    "square": (lambda x: ops.square(x), 0, 48),
    "roots and sums": (lambda x: ops.sqrt(x + 1) - ops.exp(x), 0, 0),
    "real powers": (lambda x: x**0.3, 0, 0),
    "mean": (lambda x: ops.mean(x, 1), 0, 6),
    "weighted average": (
        lambda x: ops.average(x, 1, ops.ones((8,))),
        0,
        48 + 6,
    ),
    "variance": (lambda x: ops.var(x, 1), 0, 48 + 2 * 6),
    "moments": (lambda x: ops.moments(x, 1)[1], 0, 48 + 2 * 6),
    "prod": (lambda x: ops.prod(x, 1), 0, 7 * 6),
    "silu": (lambda x: ops.silu(x), 0, 48),
    "selu": (lambda x: ops.selu(x), 0, 2 * 48),
    "gelu": (lambda x: ops.gelu(x), 0, 3 * 48),
    "glu": (lambda x: ops.glu(x), 0, 24),
    "softmax": (lambda x: ops.softmax(x), 0, 48),
    "layer_normalization": (
        lambda x: ops.layer_normalization(x, ops.ones((6,)), ops.ones((6,))),
        0,
        3 * 48 + 2 * 8,
    ),
    "rms_normalization": (lambda x: ops.rms_normalization(x), 0, 2 * 48 + 8),
    "normalize": (lambda x: ops.normalize(x), 0, 2 * 48),
    "moved": (
        lambda x: ops.concatenate([ops.flip(x, 1), x[:, ::-1]], 1),
        0,
        0,
    ),
    "batch in one axis": (
        lambda x: ops.reshape(x, (-1, 6)) @ ops.ones((6, 5)),
        8 * 6 * 5,
        0,
    ),
}


@pytest.mark.parametrize("case", OPERATIONS)
def test_operations_counted_by_hand(case):
    function, macs, others = OPERATIONS[case]
    inputs = keras.Input(SEQUENCE)
    model = keras.Model(inputs, function(inputs))
    assert profile(model).unknown == ()
    assert counted(model) == (macs, others)


def test_fixed_batches_count_one_sample():
    inputs = keras.Input(batch_shape=(3, 8, 6))
    product = ops.tensordot(inputs, ops.ones((8, 6, 5)), [[1, 2], [0, 1]])
    model = keras.Model(inputs, ops.relu(layers.Dense(4)(product)))
    assert counted(model) == (8 * 6 * 5 + 5 * 4, 0)
    assert profile(model).layers[-1].output_shape == (3, 4)


def test_layers_that_forget_the_batch():
    """`EinsumDense` says `None` for it; what follows is counted whole."""
    inputs = keras.Input(SEQUENCE)
    x = layers.EinsumDense("abc,cd->abd", (None, 5))(inputs)
    x = ops.matmul(ops.reshape(x, (-1, 5)), ops.ones((5, 3)))
    assert counted(keras.Model(inputs, x)) == (8 * 6 * 5 + 8 * 5 * 3, 0)


def test_pictures_by_operations():
    inputs = keras.Input((8, 8, 3))
    for function, others in (
        (ops.image.rgb_to_grayscale, 8 * 8 * 3),
        (lambda x: ops.image.resize(x, (4, 5)), 4 * 4 * 5 * 3),
        (lambda x: ops.average_pool(x, 2), 4 * 4 * 3),
        (lambda x: ops.max_pool(x, 2), 0),
    ):
        model = keras.Model(inputs, function(inputs))
        assert counted(model) == (0, others)


def test_smoothed_pictures_are_not_known():
    model = keras.Sequential(
        [keras.Input(PICTURE), layers.Resizing(4, 4, antialias=True, name="s")]
    )
    assert profile(model).unknown == ("s",)


def test_our_layers_counted_by_hand():
    for layer, others in (
        (ours.InstanceNormalization(), 3 * 384 + 2 * 6),
        # 2x2 of the 8x8 positions are looked at; mean, variance, quotient.
        (ours.StandardizeImage(4), 6 * (4 + 3) + 384),
        (ours.DeprocessStylizedImage(), 384),
        (ours.ChannelShuffle(2), 0),
    ):
        model = keras.Sequential([keras.Input(PICTURE), layer])
        assert counted(model) == (0, others)


def test_layers_that_simulate_integers():
    inputs, side = keras.Input(PICTURE), keras.Input(PICTURE)
    rounded, ends = ours.ActivationRange()(inputs)
    convolved, _ = ours.QuantizedLayer(layers.Conv2D(4, 3), activation="relu")(
        rounded, ends
    )
    model = keras.Model(inputs, convolved)
    assert counted(model) == (36 * 4 * 9 * 6, 2 * 384)
    other, ends = ours.ActivationRange()(side)
    joined, _ = ours.ConcatenationRange(ranged=[1])([inputs, other], [ends])
    model = keras.Model([inputs, side], joined)
    assert counted(model) == (0, 2 * 384 + (384 + 2 * 768))


def test_activations_of_the_user_are_not_known():
    layer = layers.Dense(5, activation=lambda x: x * x, name="squared")
    model = keras.Sequential([keras.Input((6,)), layer])
    (row,) = profile(model).layers
    assert (row.macs, row.multiplications) == (30, None)
    assert profile(model).unknown == ("squared",)


def test_subclasses_count_as_what_they_extend():
    class Own(layers.Dense):
        pass

    assert counted(keras.Sequential([keras.Input((6,)), Own(5)])) == (30, 0)


def test_layers_of_the_user_get_a_rule():
    class Scale(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    model = keras.Sequential([keras.Input((6,)), Scale(name="twice")])
    assert profile(model).unknown == ("twice",)
    register_cost(Scale, lambda call: Cost(others=call.outputs))
    assert counted(model) == (0, 6)

    @register_cost(Scale)
    def cost(call):
        return Cost(macs=call.inputs, others=call.outputs)

    assert counted(model) == (6, 6)


def test_rules_for_something_else_are_refused():
    with pytest.raises(TypeError, match="subclass of keras.Layer.*Pass the c"):
        register_cost(layers.Dense(3), lambda call: Cost())
    with pytest.raises(TypeError, match="takes an `analysis.Call`.*'free'"):
        register_cost(layers.Dense, "free")
