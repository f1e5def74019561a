import keras
import numpy as np
import pytest
from classifiers import classifier, pair, samples, values

from fritz_compress.callbacks import FilterPruning
from fritz_compress.surgery import remove_pruned_filters
from fritz_compress.training import distill_classifier


class Killed(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_student_learns_and_the_teacher_stays(tmp_path):
    teacher, student = pair()
    x, y = samples(64)
    before = values(teacher), teacher.trainable
    history = distill_classifier(
        teacher,
        student,
        x,
        y,
        epochs=6,
        batch_size=16,
        learning_rate=0.05,
        validation_data=(x, y),
        callbacks=[FilterPruning(0.5, 2, 16, frequency=2, round_to=1)],
        cache_dir=tmp_path / "said",
    ).history
    assert history["distillation_loss"][-1] < history["distillation_loss"][0]
    found = np.mean(np.argmax(student.predict(x, verbose=0), -1) == y)
    assert history["val_accuracy"][-1] == pytest.approx(found)
    assert remove_pruned_filters(student).get_layer("wide").filters == 2
    for weight, old in zip(values(teacher), before[0]):
        np.testing.assert_array_equal(weight, old)
    assert teacher.trainable == before[1]
    assert (tmp_path / "said" / "000000.npz").is_file()


@pytest.mark.slow
def test_a_training_goes_on_after_a_kill(tmp_path):
    x, y = samples(32)
    results = []
    for epoch in (None, 2):
        teacher, student = pair()
        kwargs = dict(epochs=4, batch_size=8, cache_dir=tmp_path / "said")
        kwargs["backup_dir"] = tmp_path / f"backup_{epoch}"
        if epoch is not None:
            with pytest.raises(KeyboardInterrupt):
                distill_classifier(
                    teacher, student, x, y, callbacks=[Killed(epoch)], **kwargs
                )
            student = classifier(4, 7, "student")
            teacher = None  # All that it says is there.
        distill_classifier(teacher, student, x, y, **kwargs)
        results.append(values(student))
        assert not kwargs["backup_dir"].exists()
    for first, second in zip(*results):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_labels_are_not_needed():
    teacher, student = pair()
    before = values(student)
    x, _ = samples()
    distill_classifier(teacher, student, x, hard_weight=0, epochs=1)
    assert not np.array_equal(values(student)[0], before[0])


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"y": None}, "hard_weight=0.1 and there are none. Pass `y`"),
        ({"epochs": 0}, "`epochs` must be at least 1"),
        ({"learning_rate": 0.0}, "`learning_rate` must be a number above 0"),
        ({"temperature": -1}, "`temperature` must be a number above 0"),
        ({"hard_weight": 2.0}, r"`hard_weight` must be a fraction in \[0, 1\]"),
    ],
)
def test_wrong_arguments_are_refused(wrong, message):
    teacher, student = pair()
    x, y = samples()
    with pytest.raises(ValueError, match=message):
        distill_classifier(teacher, student, x, **{"y": y, **wrong})


def test_models_that_do_not_fit_are_refused_before_anything_is_computed():
    teacher, _ = pair()
    x, y = samples()
    with pytest.raises(ValueError, match="inputs of the same shapes"):
        distill_classifier(teacher, classifier(4, 1, "s", size=7), x, y)
    with pytest.raises(TypeError, match="`student` must be a Keras model"):
        distill_classifier(teacher, None, x, y)
