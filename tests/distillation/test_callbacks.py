"""Callbacks of the package work on the student, whoever teaches it."""

import keras
import numpy as np
import pytest
from classifiers import classifier, pair, samples, values
from fits import JIT

from fritz_compress import surgery
from fritz_compress.callbacks import (
    CodebookFineTuning,
    FilterPruning,
    FilterRegularization,
    IterativePruning,
    LotteryTicketRewinding,
    MagnitudePruning,
)
from fritz_compress.distillation import Hint, SoftTargets, distiller
from fritz_compress.quantization import WeightConfig, quantize_weights

pytestmark = pytest.mark.slow


def taught(student, callback, recorded=False):
    """Eight steps, with callbacks; the teacher is there, or recorded."""
    teacher = classifier(6, 0, "teacher")
    x, y = samples()
    before = values(teacher)
    losses = SoftTargets(4.0)
    if recorded:
        y = {"labels": y, "teacher_outputs": np.array(teacher(x))}
    else:
        losses = [losses, Hint("wide", "wide")]
    model = distiller(
        None if recorded else teacher,
        student,
        losses,
        keras.optimizers.Adam(0.01),
        metrics=["accuracy"],
        jit_compile=JIT,
    )
    history = model.fit(
        x, y, batch_size=4, epochs=2, verbose=0, callbacks=[callback]
    )
    for weight, old in zip(values(teacher), before):
        np.testing.assert_array_equal(weight, old)
    return history.history


@pytest.mark.parametrize("recorded", [False, True])
def test_filters_are_pruned(recorded):
    _, student = pair()
    pruning = FilterPruning(0.5, 1, 6, frequency=1, round_to=1)
    history = taught(student, pruning, recorded)
    assert history["pruned_fraction"][-1] == 0.5
    smaller = surgery.remove_pruned_filters(student)
    assert smaller.get_layer("wide").filters == 2
    x, _ = samples()
    np.testing.assert_allclose(smaller(x), student(x), atol=1e-5)


def test_weights_are_pruned():
    _, student = pair()
    pruning = MagnitudePruning(0.75, 1, 6, frequency=1)
    assert taught(student, pruning)["sparsity"][-1] == 0.75
    kernel = np.array(student.get_layer("deep").kernel)
    assert np.mean(kernel == 0) == 0.75


def test_filters_are_pruned_step_by_step():
    _, student = pair()
    pruning = IterativePruning(
        {"wide": 0.5}, floor=0.0, monitor="accuracy", round_to=1
    )
    taught(student, pruning)
    assert surgery.remove_pruned_filters(student).get_layer("wide").filters == 2


def test_filters_are_regularized():
    lengths = []
    for strength in (0.0, 0.5):
        _, student = pair()
        taught(student, FilterRegularization(strength))
        lengths.append(np.linalg.norm(values(student)[0]))
    assert lengths[1] < 0.9 * lengths[0]


def test_tickets_are_rewound():
    _, student = pair()
    before = np.array(student.get_layer("deep").kernel)
    rewinding = LotteryTicketRewinding(1, 1, fraction_per_round=0.5)
    sparsity = taught(student, rewinding)["sparsity"]
    assert sparsity[-1] == pytest.approx(0.5, abs=0.02)
    # In the second epoch training began again with the first weights.
    assert np.any(before != np.array(student.get_layer("deep").kernel))


def test_codebooks_are_trained_on():
    _, student = pair()
    coded, _ = quantize_weights(student, WeightConfig(2, "kmeans"))
    before = [len(np.unique(w)) for w in values(coded)]
    taught(coded, CodebookFineTuning())
    after = [len(np.unique(w)) for w in values(coded)]
    assert after[0] == before[0] == 4


def test_keras_own_callbacks(tmp_path):
    teacher, student = pair()
    x, y = samples()
    model = distiller(teacher, student, jit_compile=JIT)
    callbacks = [
        keras.callbacks.EarlyStopping("loss", restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.ModelCheckpoint(tmp_path / "distiller.keras"),
        keras.callbacks.BackupAndRestore(tmp_path / "backup"),
    ]
    model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks)
    again = keras.saving.load_model(tmp_path / "distiller.keras")
    for first, second in zip(values(student), values(again.student)):
        np.testing.assert_array_equal(first, second)
