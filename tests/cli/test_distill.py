"""A classifier that is taught from the command line."""

import keras
import numpy as np
import pytest
from classifiers import classifier, samples
from commands import run


@pytest.fixture(name="folder")
def folder_of_networks(tmp_path):
    classifier(6, 0, "teacher").save(tmp_path / "teacher.keras")
    classifier(8, 1, "student").save(tmp_path / "student.keras")
    (x, y), (x_val, y_val) = samples(40), samples(10, seed=1)
    arrays = {"x_train": x, "y_train": y, "x_val": x_val, "y_val": y_val}
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path


def distill(folder, *more, teacher="teacher.keras", student="student.keras"):
    paths = (folder / teacher, folder / "data.npz", folder / "out.keras")
    return run("distill", *paths, "--student", folder / student, *more)


@pytest.mark.slow
def test_a_classifier_is_taught_pruned_and_saved(folder, capsys):
    options = ["--epochs", 5, "--batch-size", 8, "--prune", 0.5]
    options += ["--temperature", 2, "--hard-weight", 0.5]
    options += ["--cache", folder / "said", "--backup", folder / "backup"]
    assert distill(folder, *options) == 0
    assert (folder / "said" / "cache.json").is_file()
    assert not (folder / "backup").exists()
    model = keras.saving.load_model(folder / "out.keras")
    x, y = samples(10, seed=1)
    accuracy = np.mean(np.argmax(model.predict(x, verbose=0), -1) == y)
    out = " ".join(capsys.readouterr().out.split())
    assert f"accuracy {accuracy:.4f} on 10 held out" in out
    assert f"{model.count_params():,} weights" in out
    before = keras.saving.load_model(folder / "student.keras")
    assert (
        model.get_layer("wide").filters == before.get_layer("wide").filters / 2
    )
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(
            model.get_layer("head").bias, before.get_layer("head").bias
        )


@pytest.mark.parametrize(
    "more, message",
    [
        (["--temperature", 0], "`temperature` must be a number above 0"),
        (["--hard-weight", 2], "`hard_weight` must be a fraction in"),
        (["--epochs", 0], "'--epochs'"),
    ],
)
def test_bad_numbers_get_one_line(folder, capsys, more, message):
    assert distill(folder, *more) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "out.keras").exists()


def test_students_of_other_shapes_get_one_line(folder, capsys):
    classifier(4, 1, "other", size=7).save(folder / "other.keras")
    assert distill(folder, student="other.keras") == 2
    error = capsys.readouterr().err
    assert "Teacher and student must have inputs of the same shapes" in error
    assert error.count("\n") == 1


def test_data_without_its_arrays_gets_one_line(folder, capsys):
    np.savez(folder / "data.npz", x=np.zeros((3, 2)))
    assert distill(folder) == 2
    assert "without x_train, y_train, x_val, y_val" in capsys.readouterr().err
