import keras
import numpy as np
import pytest

from fritz_compress.losses import SoftTargetLoss

RNG = np.random.default_rng(0)
TEACHER = RNG.normal(0, 3, (6, 5)).astype("float32")
STUDENT = RNG.normal(0, 3, (6, 5)).astype("float32")


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def divergence(teacher, student, temperature):
    """T^2 times Kullback and Leibler's, sample by sample, in float64."""
    p = softmax(teacher.astype("float64") / temperature)
    q = softmax(student.astype("float64") / temperature)
    return temperature**2 * np.sum(p * np.log(p / q), -1)


@pytest.mark.parametrize("temperature", [0.5, 1, 4.0, 20])
def test_it_is_the_softened_divergence(temperature):
    expected = divergence(TEACHER, STUDENT, temperature)
    loss = SoftTargetLoss(temperature, reduction=None)
    np.testing.assert_allclose(loss(TEACHER, STUDENT), expected, rtol=1e-4)
    mean = SoftTargetLoss(temperature)
    assert float(mean(TEACHER, STUDENT)) == pytest.approx(
        expected.mean(), rel=1e-4
    )
    weights = np.arange(6, dtype="float32")
    assert float(mean(TEACHER, STUDENT, weights)) == pytest.approx(
        (weights * expected).mean(), rel=1e-4
    )
    np.testing.assert_allclose(loss(TEACHER, TEACHER), 0, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_its_gradient_is_that_of_the_paper(temperature):
    """`T (q - p)`: of a student whose weights are its logits."""
    student = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(5, use_bias=False)]
    )
    student.layers[0].kernel.assign(STUDENT)
    student.compile(keras.optimizers.SGD(1.0), SoftTargetLoss(temperature))
    student.fit(np.eye(6), TEACHER, batch_size=6, verbose=0)
    step = np.array(student.layers[0].kernel) - STUDENT
    p, q = softmax(TEACHER / temperature), softmax(STUDENT / temperature)
    # Of the mean over 6 samples.
    np.testing.assert_allclose(step, -temperature * (q - p) / 6, atol=1e-5)


def test_at_high_temperatures_logits_are_compared():
    """Section 2.1: the error of logits whose means are zero, over 2 N."""
    centered = [x - x.mean(-1, keepdims=True) for x in (TEACHER, STUDENT)]
    expected = np.mean((centered[1] - centered[0]) ** 2, -1) / 2
    loss = SoftTargetLoss(300.0, reduction=None)
    np.testing.assert_allclose(loss(TEACHER, STUDENT), expected, rtol=0.05)


@pytest.mark.parametrize("teacher_from_logits", [True, False])
@pytest.mark.parametrize("from_logits", [True, False])
def test_probabilities_are_taken_back_to_logits(
    from_logits, teacher_from_logits
):
    loss = SoftTargetLoss(4.0, from_logits, teacher_from_logits, reduction=None)
    teacher = TEACHER if teacher_from_logits else softmax(TEACHER)
    student = STUDENT if from_logits else softmax(STUDENT)
    expected = divergence(TEACHER, STUDENT, 4.0)
    np.testing.assert_allclose(loss(teacher, student), expected, rtol=1e-4)
    if from_logits is teacher_from_logits:
        alike = SoftTargetLoss(4.0, from_logits, reduction=None)
        np.testing.assert_array_equal(
            alike(teacher, student), loss(teacher, student)
        )


def test_probabilities_of_zero_are_finite():
    teacher = np.array([[1.0, 0.0, 0.0]], "float32")
    student = np.array([[0.0, 0.5, 0.5]], "float32")
    loss = SoftTargetLoss(1.0, from_logits=False)
    assert float(loss(teacher, student)) == pytest.approx(87.3, abs=0.1)


def test_certain_classes_have_a_gradient():
    """Where Keras' own loss, which clips probabilities, has none."""
    teacher = np.array([[30.0, 0.0, 0.0]], "float32")
    student = np.array([[0.0, 30.0, 0.0]], "float32")
    assert float(SoftTargetLoss(1.0)(teacher, student)) == pytest.approx(30)
    clipped = keras.distillation.LogitsDistillation(
        1.0, keras.losses.KLDivergence()
    )
    assert float(clipped.compute_loss(teacher, student)) < 17


def test_beside_keras_own_where_nothing_is_clipped():
    theirs = keras.distillation.LogitsDistillation(
        4.0, keras.losses.KLDivergence()
    )
    assert float(SoftTargetLoss(4.0)(TEACHER, STUDENT)) == pytest.approx(
        float(theirs.compute_loss(TEACHER, STUDENT)), rel=1e-4
    )


def test_half_precision_is_computed_in_single():
    teacher, student = TEACHER.astype("float16"), STUDENT.astype("float16")
    expected = divergence(teacher, student, 4.0)
    loss = SoftTargetLoss(4.0, reduction=None)(teacher, student)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_it_is_saved_with_a_model(tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5)])
    model.compile("sgd", SoftTargetLoss(3.0, False, teacher_from_logits=True))
    model.save(tmp_path / "model.keras")
    loss = keras.saving.load_model(tmp_path / "model.keras").loss
    assert isinstance(loss, SoftTargetLoss)
    assert (loss.temperature, loss.from_logits) == (3.0, False)
    assert loss.teacher_from_logits is True


@pytest.mark.parametrize("wrong", [0, -1.0, float("inf"), float("nan")])
def test_temperatures_that_are_not_positive_are_refused(wrong):
    with pytest.raises(ValueError, match="`temperature` must be a number ab"):
        SoftTargetLoss(wrong)


def test_temperatures_that_are_no_number_are_refused():
    with pytest.raises(TypeError, match="Received: temperature='4'"):
        SoftTargetLoss("4")
