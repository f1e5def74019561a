import keras
import numpy as np
import pytest
from keras import ops

from fritz_compress.losses import AttentionTransferLoss

RNG = np.random.default_rng(0)


def expected(teacher, student):
    """Equations 1 and 2, squared, sample by sample."""
    result = []
    for first, second in zip(teacher, student):
        a, b = (np.square(x).sum(-1).ravel() for x in (first, second))
        a, b = a / np.sqrt(a @ a), b / np.sqrt(b @ b)
        result.append(((a - b) @ (a - b)) / 2)
    return result


@pytest.mark.parametrize("positions", [(7,), (5, 4)])
def test_it_compares_normalized_maps(positions):
    teacher = RNG.normal(0, 2, (3, *positions, 6)).astype("float32")
    student = RNG.normal(0, 2, (3, *positions, 4)).astype("float32")
    loss = AttentionTransferLoss(reduction=None)
    np.testing.assert_allclose(
        loss(teacher, student), expected(teacher, student), rtol=1e-5
    )
    np.testing.assert_allclose(
        AttentionTransferLoss()(teacher, student),
        np.mean(expected(teacher, student)),
        rtol=1e-5,
    )
    # Louder features are no other attention.
    np.testing.assert_allclose(
        loss(teacher, 10 * student), expected(teacher, student), rtol=1e-5
    )


def test_maps_are_resized_to_the_students():
    """Linear along both axes: corners of a plane in between."""
    plane = np.add.outer(np.arange(8.0), 10 * np.arange(8.0)) + 1
    teacher = np.sqrt(plane)[None, ..., None]
    # Halving averages pairs of neighbours of a plane.
    smaller = plane.reshape(4, 2, 4, 2).mean((1, 3))
    student = np.sqrt(smaller)[None, ..., None]
    loss = AttentionTransferLoss()
    assert float(loss(teacher, student)) == pytest.approx(0, abs=1e-6)
    other = RNG.normal(0, 2, (1, 4, 4, 3)).astype("float32")
    assert float(loss(teacher, other)) == pytest.approx(
        expected(student, other)[0], rel=1e-4
    )


def test_gradients_are_finite_where_nothing_is_seen():
    """Dead features: a map of zeros, and equal maps."""
    model = keras.Sequential(
        [keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 1, use_bias=False)]
    )
    images = RNG.normal(0, 1, (2, 4, 4, 2)).astype("float32")
    images[1] = 0
    targets = ops.convert_to_numpy(model(images))
    model.compile(keras.optimizers.SGD(1.0), AttentionTransferLoss())
    before = np.array(model.layers[0].kernel)
    model.fit(images, targets, verbose=0)
    np.testing.assert_allclose(model.layers[0].kernel, before, atol=1e-5)


def test_it_is_saved_with_a_model(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.ReLU()])
    model.compile("sgd", AttentionTransferLoss())
    model.save(tmp_path / "model.keras")
    loss = keras.saving.load_model(tmp_path / "model.keras").loss
    assert isinstance(loss, AttentionTransferLoss)


def test_features_without_positions_are_refused():
    loss = AttentionTransferLoss()
    with pytest.raises(ValueError, match=r"teacher's of shape \(2, 6\)"):
        loss(np.ones((2, 6)), np.ones((2, 6)))
    with pytest.raises(ValueError, match=r"student's of shape \(2, 5, 6\)"):
        loss(np.ones((2, 5, 5, 6)), np.ones((2, 5, 6)))
    with pytest.raises(ValueError, match="7 in the teacher, 5 in the student"):
        loss(np.ones((2, 7, 6)), np.ones((2, 5, 6)))
