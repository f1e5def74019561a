import functools

import keras
import numpy as np
import pytest
from classifiers import QUICKLY, pair, samples, values
from fits import JIT
from keras import layers, ops

from fritz_compress.distillation import AttentionTransfer, Hint
from fritz_compress.distillation import distiller as build_distiller

distiller = functools.partial(build_distiller, **QUICKLY)
compiled = functools.partial(build_distiller, jit_compile=JIT)


def still():
    return keras.optimizers.SGD(0.0)


def features(model, name, x):
    inner = keras.Model(model.input, model.get_layer(name).output)
    return ops.convert_to_numpy(inner(x, training=False)).astype("float64")


def loss_of(model, x, **kwargs):
    labels = np.zeros(len(x))  # Keras takes weights along with labels alone.
    found = model.evaluate(
        x, labels, len(x), verbose=0, return_dict=True, **kwargs
    )
    return found["loss"]


def test_hints_of_other_widths_go_through_a_regressor():
    teacher, student = pair()
    x, _ = samples()
    hint = Hint("wide", "wide", seed=0)
    model = distiller(teacher, student, hint, still(), hard_weight=0)
    assert hint.regressor.kernel.shape == (4, 6)
    kernel = np.random.default_rng(0).normal(size=(4, 6))
    hint.regressor.set_weights([kernel, np.arange(6.0)])
    known, made = features(teacher, "wide", x), features(student, "wide", x)
    made = made @ kernel + np.arange(6)
    assert loss_of(model, x) == pytest.approx(
        np.square(made - known).mean(), rel=1e-4
    )
    weights = np.arange(16, dtype="float32")
    each = np.square(made - known).mean((1, 2, 3))
    assert loss_of(model, x, sample_weight=weights) == pytest.approx(
        (weights * each).mean(), rel=1e-4
    )


@pytest.mark.slow
def test_regressors_are_trained_and_no_part_of_the_student():
    teacher, student = pair()
    x, y = samples()
    names = [weight.path for weight in student.weights]
    hint = Hint("wide", "wide", seed=0)
    model = compiled(teacher, student, hint, keras.optimizers.Adam(0.01))
    before = np.array(hint.regressor.kernel)
    first, *_, last = model.fit(x, y, epochs=10, verbose=0).history["loss"]
    assert last < first
    assert not np.array_equal(hint.regressor.kernel, before)
    assert [weight.path for weight in student.weights] == names
    assert model.regressors == [hint.regressor]
    trained = {id(weight) for weight in model.trainable_variables}
    assert {id(w) for w in hint.regressor.weights} < trained
    assert not trained & {id(weight) for weight in teacher.weights}


def test_seeds_of_regressors():
    kernels = []
    for seed in (0, 0, 1):
        hint = Hint("wide", "wide", seed=seed)
        distiller(*pair(), hint)
        kernels.append(np.array(hint.regressor.kernel))
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_hints_of_the_same_width_need_no_regressor():
    teacher, student = pair()
    x, _ = samples()
    hint = Hint("head", "head", loss=keras.losses.MeanAbsoluteError())
    model = distiller(teacher, student, hint, still(), hard_weight=0)
    assert hint.regressor is None and model.regressors == []
    student.get_layer("norm").trainable = False
    known, made = features(teacher, "head", x), features(student, "head", x)
    weights = np.arange(16, dtype="float32")
    each = np.abs(known - made).mean(-1)
    assert loss_of(model, x, sample_weight=weights) == pytest.approx(
        (weights * each).mean(), rel=1e-4
    )


def test_a_regressor_may_change_the_size():
    teacher, student = pair()
    x, _ = samples()
    regressor = layers.Conv2D(6, 2, 3, padding="same", use_bias=False)
    hint = Hint("deep", "wide", regressor=regressor)
    model = distiller(teacher, student, hint, still(), hard_weight=0)
    known, made = features(teacher, "deep", x), features(student, "wide", x)
    # Patches of 2 by 2, 3 apart, of 6 by 6 positions.
    patches = made.reshape(16, 2, 3, 2, 3, 4)[:, :, :2, :, :2]
    kernel = np.array(regressor.kernel)
    made = np.einsum("byixjc,ijcd->byxd", patches, kernel)
    assert loss_of(model, x) == pytest.approx(
        np.square(made - known).mean(), rel=1e-4
    )


def test_attention_is_transferred():
    teacher, student = pair()
    x, _ = samples()
    loss = AttentionTransfer("wide", "wide")
    model = distiller(teacher, student, loss, still(), hard_weight=0)
    maps = [
        np.square(features(net, "wide", x)).sum(-1).reshape(16, -1)
        for net in (teacher, student)
    ]
    known, made = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in maps)
    each = np.square(known - made).sum(1) / 2
    assert loss_of(model, x) == pytest.approx(each.mean(), rel=1e-4)
    weights = np.arange(16, dtype="float32")
    assert loss_of(model, x, sample_weight=weights) == pytest.approx(
        (weights * each).mean(), rel=1e-4
    )


@pytest.mark.slow
def test_attention_of_other_sizes():
    teacher, student = pair()
    x, y = samples()
    before = values(student)
    loss = AttentionTransfer("wide", "deep")
    model = compiled(teacher, student, loss)
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][0])
    assert not np.array_equal(values(student)[0], before[0])


def test_sequential_models():
    def model(width, name):
        convolution = layers.Conv2D(width, 3, name="conv")
        last = [layers.Flatten(), layers.Dense(3)]
        return keras.Sequential(
            [keras.Input((8, 8, 2)), convolution, *last], name=name
        )

    teacher, student = model(6, "teacher"), model(4, "student")
    before = values(student)
    losses = [Hint("conv", "conv"), AttentionTransfer("conv", "conv")]
    x, y = samples()
    distiller(teacher, student, losses).fit(x, y, verbose=0)
    assert not np.array_equal(values(student)[0], before[0])


def test_layers_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="In teacher model:.*narrow"):
        distiller(*pair(), Hint("narrow", "wide"))
    with pytest.raises(ValueError, match="In student model:.*narrow"):
        distiller(*pair(), AttentionTransfer("wide", "narrow"))


def test_features_of_other_sizes_are_refused():
    with pytest.raises(
        ValueError,
        match=r"'deep' of the student must have.*of 'wide' of the"
        r" teacher, \(None, 6, 6, 6\).*\(None, 2, 2, 6\).*pass a `regressor`",
    ):
        distiller(*pair(), Hint("wide", "deep"))


def test_configurations_are_the_arguments():
    hint = Hint("a", "b", "mae", layers.Conv2D(3, 2), seed=5)
    again = Hint.from_config(hint.get_config())
    assert (again.teacher_layer_name, again.student_layer_name) == ("a", "b")
    assert again.regressor.kernel_size == (2, 2) and again.seed == 5
    ones = np.ones((2, 3))
    np.testing.assert_allclose(again.loss(ones, 3 * ones), 2)
    transfer = AttentionTransfer.from_config(
        AttentionTransfer("a", "b").get_config()
    )
    assert transfer.student_layer_name == "b"
