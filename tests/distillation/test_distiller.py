import functools

import keras
import numpy as np
import pytest
from classifiers import (
    QUICKLY,
    classifier,
    cross_entropy,
    divergence,
    log_softmax,
    pair,
    samples,
    values,
)
from fits import JIT
from keras import layers, ops

from fritz_compress.distillation import (
    AttentionTransfer,
    Distiller,
    Hint,
    RecordedTeacher,
    SoftTargets,
)
from fritz_compress.distillation import distiller as build_distiller

distiller = functools.partial(build_distiller, **QUICKLY)
compiled = functools.partial(build_distiller, jit_compile=JIT)


def still():
    """An optimizer that moves nothing, so that logs are of one batch."""
    return keras.optimizers.SGD(0.0)


def logits(model, x):
    return ops.convert_to_numpy(model(x, training=False))


def frozen_norm(student):
    """At inference as in training, so that numpy can tell the loss."""
    student.get_layer("norm").trainable = False
    return student


@pytest.mark.parametrize("hard_weight", [0, 0.25, 1])
def test_the_loss_is_that_of_labels_and_of_the_teacher(hard_weight):
    teacher, student = pair()
    frozen_norm(student)
    x, y = samples()
    model = distiller(
        teacher, student, SoftTargets(4.0), still(), hard_weight=hard_weight
    )
    history = model.fit(x, y, batch_size=16, verbose=0).history
    hard = cross_entropy(y, logits(student, x)).mean()
    soft = divergence(logits(teacher, x), logits(student, x), 4.0).mean()
    assert history["loss"][0] == pytest.approx(
        hard_weight * hard + (1 - hard_weight) * soft, rel=1e-4
    )
    for name, part, weight in (
        ("student_loss", hard, hard_weight),
        ("distillation_loss", soft, 1 - hard_weight),
    ):
        assert history[name][0] == pytest.approx(part * (weight > 0), rel=1e-4)


def test_labels_are_not_needed():
    teacher, student = pair()
    x, _ = samples()
    before = values(student)
    model = distiller(teacher, student, hard_weight=0)
    assert np.isfinite(model.fit(x, verbose=0).history["loss"][0])
    assert not np.array_equal(values(student)[0], before[0])


def test_samples_have_weights():
    teacher, student = pair()
    frozen_norm(student)
    x, y = samples()
    weights = np.arange(16, dtype="float32")
    model = distiller(teacher, student, SoftTargets(2.0), still(), 0.5)
    history = model.fit(x, y, 16, sample_weight=weights, verbose=0).history
    made = logits(student, x)
    parts = cross_entropy(y, made) + divergence(logits(teacher, x), made, 2.0)
    assert history["loss"][0] == pytest.approx(
        (0.5 * weights * parts).mean(), rel=1e-4
    )


def test_regularizers_of_the_student_count_once():
    teacher = classifier(6, 0, "teacher")
    student = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Flatten(),
            layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5)),
        ]
    )
    x, y = samples()
    model = distiller(teacher, student, SoftTargets(2.0), still(), 0.25)
    history = model.fit(x, y, batch_size=16, verbose=0).history
    made = logits(student, x)
    taught = divergence(logits(teacher, x), made, 2.0).mean()
    penalty = 0.5 * np.square(np.array(student.layers[-1].kernel)).sum()
    assert history["loss"][0] == pytest.approx(
        0.25 * cross_entropy(y, made).mean() + 0.75 * taught + penalty, rel=1e-4
    )


def test_probabilities_teach_like_logits():
    teacher, plain = pair()
    x, y = samples()
    losses = []
    for student in (plain, classifier(4, 1, "student", softmax=True)):
        model = distiller(teacher, student, SoftTargets(4.0), still(), 0.5)
        history = model.fit(x, y, batch_size=16, verbose=0).history
        losses.append(history["loss"][0])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.slow
def test_metrics_evaluation_and_predictions_are_the_students():
    teacher, student = pair()
    x, y = samples()
    model = compiled(teacher, student, hard_weight=0.1, metrics=["accuracy"])
    history = model.fit(x, y, validation_data=(x, y), verbose=0).history
    right = np.argmax(logits(student, x), -1) == y
    assert history["val_accuracy"][0] == pytest.approx(right.mean())
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(right.mean())
    np.testing.assert_allclose(
        model.predict(x, verbose=0), student.predict(x, verbose=0), rtol=1e-5
    )


@pytest.mark.slow
def test_a_fixed_teacher_stays_and_the_student_learns():
    teacher, student = pair()
    x, y = samples()
    before = values(teacher), values(student)
    model = compiled(teacher, student, optimizer=keras.optimizers.Adam(0.05))
    first, *_, last = model.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert last < first
    for weight, old in zip(values(teacher), before[0]):
        np.testing.assert_array_equal(weight, old)
    assert not np.array_equal(values(student)[0], before[1][0])
    assert model.student is student


def linear(seed, name):
    """A model whose weights are its logits, of samples that are one-hot."""
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, use_bias=False, name="logits")],
        name=name,
    )
    kernel = np.random.default_rng(seed).normal(0, 2, (6, 4))
    model.layers[0].kernel.assign(kernel)
    return model, kernel


def test_a_teacher_learns_from_labels_and_from_its_student():
    """Both gradients of mutual learning, in closed form."""
    (teacher, theirs), (student, own) = linear(0, "a"), linear(1, "b")
    labels = np.array([0, 1, 2, 3, 0, 1])
    model = distiller(
        teacher,
        student,
        SoftTargets(2.0),
        keras.optimizers.SGD(1.0),
        hard_weight=0.25,
        train_teacher=True,
    )
    history = model.fit(np.eye(6), labels, batch_size=6, verbose=0).history
    right = np.eye(4)[labels]
    for mine, other, trained in (
        (own, theirs, student),
        (theirs, own, teacher),
    ):
        soft = np.exp(log_softmax(mine / 2)) - np.exp(log_softmax(other / 2))
        hard = np.exp(log_softmax(mine)) - right
        gradient = (0.25 * hard + 0.75 * 2.0 * soft) / 6
        step = np.array(trained.layers[0].kernel) - mine
        np.testing.assert_allclose(step, -gradient, atol=1e-5)
    taught = 0.75 * divergence(own, theirs, 2.0).mean()
    teacher_loss = 0.25 * cross_entropy(labels, theirs).mean() + taught
    assert history["teacher_loss"][0] == pytest.approx(teacher_loss, rel=1e-4)
    assert history["loss"][0] == pytest.approx(
        history["total_loss"][0] + teacher_loss, rel=1e-4
    )


@pytest.mark.slow
def test_a_teacher_that_learns_keeps_what_was_frozen():
    teacher, student = pair()
    teacher.get_layer("wide").trainable = False
    before = {w.path: np.array(w) for w in teacher.weights}
    x, y = samples()
    # The last one is of Keras, and a loss in the middle teaches one way.
    losses = [
        SoftTargets(2.0),
        Hint("deep", "deep"),
        keras.distillation.FeatureDistillation("mse"),
    ]
    model = compiled(teacher, student, losses, train_teacher=True)
    model.fit(x, y, verbose=0)
    for weight in teacher.weights:
        stayed = np.array_equal(before[weight.path], weight)
        assert stayed == weight.path.startswith("wide"), weight.path


@pytest.mark.slow
def test_the_student_computes_once_in_a_step():
    """Moving statistics have moved once, whatever is compared."""
    x, y = samples()
    moved = []
    for losses in (
        SoftTargets(4.0),
        [Hint("deep", "norm"), AttentionTransfer("wide", "wide")],
    ):
        teacher, student = pair()
        model = compiled(teacher, student, losses, still())
        model.fit(x, y, batch_size=16, verbose=0)
        moved.append(np.array(student.get_layer("norm").moving_mean))
        model.evaluate(x, y, verbose=0)
        np.testing.assert_array_equal(
            student.get_layer("norm").moving_mean, moved[-1]
        )
    np.testing.assert_allclose(*moved, rtol=1e-5)


def test_losses_have_weights():
    teacher, student = pair()
    frozen_norm(student)
    x, y = samples()
    model = distiller(
        teacher,
        student,
        [SoftTargets(4.0), SoftTargets(1.0)],
        still(),
        hard_weight=0,
        loss_weights=[0.5, 3.0],
    )
    history = model.fit(x, batch_size=16, verbose=0).history
    known, made = logits(teacher, x), logits(student, x)
    assert history["loss"][0] == pytest.approx(
        0.5 * divergence(known, made, 4.0).mean()
        + 3 * divergence(known, made, 1.0).mean(),
        rel=1e-4,
    )


def test_models_of_several_outputs():
    def model(seed):
        inputs = keras.Input((6,))
        outputs = [
            layers.Dense(4, name="logits")(inputs),
            layers.Dense(3, activation="softmax", name="shares")(inputs),
        ]
        net = keras.Model(inputs, outputs)
        rng = np.random.default_rng(seed)
        net.set_weights([rng.normal(size=w.shape) for w in net.weights])
        return net

    teacher, student = model(0), model(1)
    x = np.random.default_rng(2).normal(size=(8, 6)).astype("float32")
    found = distiller(teacher, student, SoftTargets(2.0), still(), 0)
    history = found.fit(x, batch_size=8, verbose=0).history
    (known, shares), (made, own) = (
        [np.asarray(out) for out in net(x)] for net in (teacher, student)
    )
    expected = divergence(known, made, 2.0).mean()
    expected += divergence(np.log(shares), np.log(own), 2.0).mean()
    assert history["loss"][0] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="has 2 outputs. Pass a `loss`"):
        distiller(teacher, student, hard_weight=0.1)


def test_teachers_that_are_recorded():
    teacher, student = pair()
    x, y = samples()
    known = logits(teacher, x)
    frozen_norm(student)
    hard = cross_entropy(y, logits(student, x)).mean()
    taught = divergence(known, logits(student, x), 4.0).mean()
    model = distiller(None, student, optimizer=still(), metrics=["accuracy"])
    targets = {"labels": y, "teacher_outputs": known}
    history = model.fit(x, targets, batch_size=16, verbose=0).history
    assert history["loss"][0] == pytest.approx(
        0.1 * hard + 0.9 * taught, rel=1e-4
    )
    right = np.mean(np.argmax(logits(student, x), -1) == y)
    assert history["accuracy"][0] == pytest.approx(right)
    # Labels alone are enough to evaluate.
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(right)
    assert found["student_loss"] == pytest.approx(hard, rel=1e-4)


def test_recorded_teachers_of_another_form():
    teacher, student = pair()
    x, _ = samples()
    known = logits(teacher, x)
    targets = {"teacher_outputs": np.exp(log_softmax(known)).astype("float32")}
    losses = SoftTargets(4.0, teacher_from_logits=False)
    frozen_norm(student)
    model = distiller(None, student, losses, still(), hard_weight=0)
    history = model.fit(x, targets, batch_size=16, verbose=0).history
    taught = divergence(known, logits(student, x), 4.0).mean()
    assert history["loss"][0] == pytest.approx(taught, rel=1e-4)


def test_targets_without_what_is_needed_are_refused():
    _, student = pair()
    x, y = samples()
    model = distiller(None, student)
    with pytest.raises(ValueError, match="targets without. Fit on a data set"):
        model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="come with the targets"):
        RecordedTeacher()(x)
    with pytest.raises(ValueError, match="recorded cannot learn.*'said'"):
        distiller(RecordedTeacher(name="said"), student, train_teacher=True)


@pytest.mark.slow
def test_students_and_distillers_are_saved(tmp_path):
    teacher, student = pair()
    x, y = samples()
    losses = [SoftTargets(3.0), Hint("deep", "deep", seed=1)]
    losses += [AttentionTransfer("wide", "wide")]
    model = compiled(teacher, student, losses, loss_weights=[1.0, 2.0, 3.0])
    model.fit(x, y, verbose=0)
    student.save(tmp_path / "student.keras")
    loaded = keras.saving.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(logits(loaded, x), logits(student, x), rtol=1e-5)
    model.save(tmp_path / "distiller.keras")
    again = keras.saving.load_model(tmp_path / "distiller.keras")
    assert isinstance(again, Distiller)
    assert again.distillation_losses[0].temperature == 3.0
    assert again.distillation_loss_weights == [1.0, 2.0, 3.0]
    for first, second in zip(values(model), values(again), strict=True):
        np.testing.assert_array_equal(first, second)
    found = model.evaluate(x, y, verbose=0), again.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(*found, rtol=1e-4)


@pytest.mark.slow
def test_a_distiller_without_a_teacher_is_saved(tmp_path):
    teacher, student = pair()
    x, _ = samples()
    model = compiled(None, student, hard_weight=0)
    targets = {"teacher_outputs": logits(teacher, x)}
    model.fit(x, targets, verbose=0)
    model.save(tmp_path / "distiller.keras")
    again = keras.saving.load_model(tmp_path / "distiller.keras")
    assert again.is_recorded
    found = model.evaluate(x, targets, verbose=0), again.evaluate(
        x, targets, verbose=0
    )
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_models_that_do_not_fit_are_refused():
    teacher, student = pair()
    small = classifier(4, 1, "small", size=7)
    with pytest.raises(ValueError, match="inputs of the same.*(7, 7, 2).*inco"):
        distiller(teacher, small)
    other = keras.Sequential(
        [keras.Input((8, 8, 2)), layers.Flatten(), layers.Dense(5)], name="five"
    )
    with pytest.raises(ValueError, match=r"outputs.*\(None, 5\).*of 'five'"):
        distiller(teacher, other)
    with pytest.raises(TypeError, match="`student` must be a Keras model"):
        distiller(teacher, "student.keras")
    with pytest.raises(TypeError, match="`teacher` must be a Keras model"):
        distiller("teacher.keras", student)


def test_weights_out_of_range_are_refused():
    teacher, student = pair()
    with pytest.raises(ValueError, match=r"`hard_weight`.*\[0, 1\].*1.5"):
        distiller(teacher, student, hard_weight=1.5)
    with pytest.raises(TypeError, match="`hard_weight`.*'0.1'"):
        distiller(teacher, student, hard_weight="0.1")
    with pytest.raises(ValueError, match="student_loss_weight=0.5 and need a"):
        Distiller(teacher, student, SoftTargets()).compile("adam")
    with pytest.raises(ValueError, match="`temperature`.*temperature=0"):
        SoftTargets(0)
