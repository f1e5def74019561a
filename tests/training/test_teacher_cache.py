import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from classifiers import classifier, samples, values
from fits import JIT

from fritz_compress.distillation import distiller
from fritz_compress.training import cache_teacher, output_cache


@keras.saving.register_keras_serializable("tests")
class Counting(keras.layers.Layer):
    """Counts the samples it sees, and dies after so many if asked to."""

    seen, dies_after = 0, None

    def call(self, inputs):
        def count(array):
            Counting.seen += len(array)
            dies = Counting.dies_after
            if dies is not None and Counting.seen > dies:
                raise KeyboardInterrupt
            return array

        if keras.backend.backend() == "tensorflow":
            outputs = tf.numpy_function(count, [inputs], inputs.dtype)
            return tf.ensure_shape(outputs, inputs.shape)
        import jax

        return jax.pure_callback(count, inputs, inputs)


@pytest.fixture(autouse=True)
def counts_from_zero():
    Counting.seen, Counting.dies_after = 0, None


@pytest.fixture(scope="module", name="teacher")
def shared_teacher():
    return classifier(6, 0, "teacher")


@pytest.fixture(scope="module", name="data")
def shared_data():
    return samples(50)


def cached(teacher, data, folder, **kwargs):
    kwargs = {"batch_size": 4, "chunk_size": 16, **kwargs}
    return cache_teacher(teacher, data[0], folder, data[1], **kwargs)


def counting_teacher():
    inner = classifier(6, 0, "inner")
    return keras.Sequential(
        [keras.Input((8, 8, 2)), Counting(), inner], name="counted"
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_cache_holds_what_the_teacher_says(teacher, data, tmp_path):
    cache = cached(teacher, data, tmp_path / "said")
    np.testing.assert_allclose(
        cache.outputs, teacher.predict(data[0], verbose=0), rtol=1e-4, atol=1e-5
    )
    assert cache.count == 50
    assert [path.name for path in sorted((tmp_path / "said").iterdir())] == [
        *("000000.npz", "000001.npz", "000002.npz", "000003.npz"),
        "cache.json",
    ]


def test_batches_pair_inputs_with_labels_and_outputs(teacher, data, tmp_path):
    cache = cached(teacher, data, tmp_path / "said")
    seen = []
    dataset = cache.dataset(batch_size=7, seed=1)
    assert len(dataset) == 8
    for x, targets in (dataset[i] for i in range(8)):
        for sample, label, output in zip(
            x, targets["labels"], targets["teacher_outputs"], strict=True
        ):
            (index,) = np.flatnonzero((data[0] == sample).all((1, 2, 3)))
            seen.append(index)
            assert label == data[1][index]
            np.testing.assert_array_equal(output, cache.outputs[index])
    assert sorted(seen) == list(range(50)) and seen != sorted(seen)


def test_orders_depend_on_seed_and_epoch(teacher, data, tmp_path):
    cache = cached(teacher, data, tmp_path / "said")

    def order(dataset):
        return np.concatenate([dataset[i][0] for i in range(len(dataset))])

    dataset, same = (cache.dataset(8, seed=1) for _ in range(2))
    first = order(dataset)
    np.testing.assert_array_equal(first, order(same))
    dataset.on_epoch_end()
    second = order(dataset)
    assert not np.array_equal(first, second)
    later = cache.dataset(8, seed=1, first_epoch=1)
    np.testing.assert_array_equal(second, order(later))
    assert not np.array_equal(first, order(cache.dataset(8, seed=2)))
    plain = cache.dataset(8, shuffle=False)
    np.testing.assert_array_equal(order(plain), data[0])


def test_large_caches_are_read_chunk_by_chunk(
    teacher, data, tmp_path, monkeypatch
):
    """Batches cross few chunks at a time, and each epoch all samples."""
    monkeypatch.setattr(output_cache, "CACHE_BYTES", 1)
    cache = cached(teacher, data, tmp_path / "said", chunk_size=8)
    dataset = cache.dataset(batch_size=8)
    order = np.concatenate([dataset[i][0] for i in range(len(dataset))])
    numbers = [np.flatnonzero((data[0] == x).all((1, 2, 3)))[0] for x in order]
    assert sorted(numbers) == list(range(50)) and numbers != sorted(numbers)
    chunks = np.array(numbers) // 8
    assert np.count_nonzero(np.diff(chunks)) == 6
    assert len(set(chunks[:8])) <= 2


@pytest.mark.slow
def test_an_epoch_does_not_call_the_teacher(data, tmp_path):
    teacher = counting_teacher()
    cache = cached(teacher, data, tmp_path / "said")
    assert Counting.seen == 50
    student = classifier(4, 1, "student")
    before = values(student)
    model = distiller(cache.teacher, student, metrics=["accuracy"])
    history = model.fit(cache.dataset(8), epochs=3, verbose=0).history
    assert Counting.seen == 50
    assert np.isfinite(history["loss"]).all()
    assert history["distillation_loss"][-1] < history["distillation_loss"][0]
    assert not np.array_equal(values(student)[0], before[0])
    # With the teacher there, every epoch calls it for every sample.
    model = distiller(teacher, student)
    model.fit(*data, epochs=2, batch_size=8, verbose=0)
    assert Counting.seen >= 50 + 2 * 50


def test_what_is_there_is_not_computed_again(data, tmp_path):
    teacher = counting_teacher()
    cached(teacher, data, tmp_path / "said")
    before = contents(tmp_path / "said")
    done = []
    again = cached(teacher, data, tmp_path / "said", on_chunk=done.append)
    assert (Counting.seen, done) == (50, [16, 32, 48, 50])
    assert contents(tmp_path / "said") == before
    # Its own sizes stay, and neither freezing nor compiling is another model.
    teacher.trainable = False
    teacher.compile("sgd", "mse")
    cached(teacher, data, tmp_path / "said", chunk_size=5, batch_size=5)
    assert contents(tmp_path / "said") == before
    # Nobody needs the teacher any more.
    np.testing.assert_array_equal(
        cached(None, data, tmp_path / "said").outputs, again.outputs
    )
    assert Counting.seen == 50


def test_a_cache_that_was_killed_goes_on_with_the_same_bytes(data, tmp_path):
    teacher = counting_teacher()
    cached(teacher, data, tmp_path / "whole")
    Counting.seen, Counting.dies_after = 0, 40
    with pytest.raises(BaseException):
        cached(teacher, data, tmp_path / "killed")
    names = sorted(p.name for p in (tmp_path / "killed").iterdir())
    assert names == ["000000.npz", "000001.npz", "cache.json"]
    Counting.seen, Counting.dies_after = 0, None
    with pytest.raises(ValueError, match="'000002.npz' is missing. Pass the m"):
        cached(None, data, tmp_path / "killed")
    # In another process: the same teacher once more.
    cached(counting_teacher(), data, tmp_path / "killed")
    assert Counting.seen == 50 - 32
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_half_precision_takes_half_the_bytes(teacher, data, tmp_path):
    whole = cached(teacher, data, tmp_path / "whole", chunk_size=50)
    half = cached(
        teacher, data, tmp_path / "half", chunk_size=50, dtype="float16"
    )
    assert half.outputs.dtype == whole.outputs.dtype == np.float32
    np.testing.assert_array_equal(
        half.outputs, whole.outputs.astype("float16").astype("float32")
    )
    stored = [
        np.load(tmp_path / name / "000000.npz")["output_0"].nbytes
        for name in ("whole", "half")
    ]
    assert stored[0] == 2 * stored[1]


def test_other_teachers_data_and_types_are_refused(teacher, data, tmp_path):
    folder = tmp_path / "said"
    cached(teacher, data, folder)
    x, y = data
    with pytest.raises(ValueError, match="outputs of another model. Name ano"):
        cached(classifier(6, 1, "teacher"), data, folder)
    with pytest.raises(ValueError, match="another model"):
        cached(classifier(6, 0, "teacher", softmax=True), data, folder)
    with pytest.raises(ValueError, match="another dtype and another model"):
        cached(classifier(6, 1, "teacher"), data, folder, dtype="float16")
    other = np.copy(x)
    other[20, 0, 0, 0] += 1e-3
    with pytest.raises(ValueError, match="samples 16 to 31 are others"):
        cached(teacher, (other, y), folder)
    with pytest.raises(ValueError, match="samples 0 to 15 are others"):
        cached(teacher, (x, (y + 1) % 3), folder)
    with pytest.raises(ValueError, match="samples 0 to 15 are others"):
        cached(teacher, (x, None), folder)
    with pytest.raises(ValueError, match="it has more than 32 samples"):
        cached(teacher, (x[:32], y[:32]), folder)
    with pytest.raises(ValueError, match="samples 48 to 48 are others"):
        cached(teacher, (x[:49], y[:49]), folder)


def test_folders_of_something_else_are_refused(teacher, data, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists and holds something else"):
        cached(teacher, data, tmp_path)
    with pytest.raises(ValueError, match="No outputs are cached in.*Pass the"):
        cached(None, data, tmp_path / "nothing")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_damaged_files_are_named(teacher, data, tmp_path):
    folder = tmp_path / "said"
    cached(teacher, data, folder)
    whole = contents(folder)
    path = folder / "000001.npz"
    for damaged in (whole["000001.npz"][:-20], b"", b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="000001.npz' is damaged. Remove"):
            cached(teacher, data, folder)
    os.remove(path)
    cached(teacher, data, folder)
    assert contents(folder) == whole
    (folder / "cache.json").write_text("{}")
    with pytest.raises(ValueError, match="cache.json' is damaged"):
        cached(teacher, data, folder)


def test_outputs_must_be_finite_and_fit(data, tmp_path):
    def net(factor):
        inputs = keras.Input((8, 8, 2))
        x = keras.layers.Flatten()(inputs)
        x = keras.layers.Dense(3, kernel_initializer="ones")(x)
        return keras.Model(
            inputs, keras.layers.Rescaling(factor)(x), name="loud"
        )

    with pytest.raises(ValueError, match="'loud' must fit into float16.*Use d"):
        cached(net(1e6), data, tmp_path / "a", dtype="float16")
    cached(net(1e6), data, tmp_path / "b")
    with pytest.raises(ValueError, match="Outputs of the model must hold numb"):
        cached(net(float("nan")), data, tmp_path / "c")
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["cache.json"]


@pytest.mark.parametrize("kind", ["tensorflow", "keras"])
def test_data_sets_are_cached_in_their_order(teacher, data, tmp_path, kind):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            rows = slice(10 * index, 10 * index + 10)
            return data[0][rows], data[1][rows]

    batches = Batches()
    if kind == "tensorflow":
        batches = tf.data.Dataset.from_tensor_slices(data).batch(9)
    cache = cache_teacher(
        teacher, batches, tmp_path / "said", batch_size=4, chunk_size=16
    )
    same = cached(teacher, data, tmp_path / "same")
    np.testing.assert_array_equal(cache.outputs, same.outputs)
    plain = cache.dataset(batch_size=50, shuffle=False)
    ((x, targets),) = plain.as_numpy_iterator()
    np.testing.assert_array_equal(x, data[0])
    np.testing.assert_array_equal(targets["labels"], data[1])
    np.testing.assert_array_equal(targets["teacher_outputs"], same.outputs)
    ((x, targets),) = cache.dataset(50, seed=1).as_numpy_iterator()
    order = [np.flatnonzero((data[0] == s).all((1, 2, 3)))[0] for s in x]
    assert order != sorted(order)
    np.testing.assert_array_equal(
        targets["teacher_outputs"], same.outputs[order]
    )


def test_data_sets_without_labels(teacher, data, tmp_path):
    batches = tf.data.Dataset.from_tensor_slices(data[0]).batch(25)
    cache = cache_teacher(teacher, batches, tmp_path / "said")
    for x, targets in cache.dataset(25, shuffle=False):
        assert x.shape == (25, 8, 8, 2)
        assert set(targets) == {"teacher_outputs"}
    arrays = cache_teacher(teacher, data[0], tmp_path / "arrays")
    assert set(arrays.dataset()[0][1]) == {"teacher_outputs"}


def test_data_sets_that_change_are_refused(teacher, data, tmp_path):
    batches = tf.data.Dataset.from_tensor_slices(data).shuffle(50).batch(9)
    cache_teacher(teacher, batches, tmp_path / "said")
    with pytest.raises(ValueError, match="must come in the same order every"):
        cache_teacher(teacher, batches, tmp_path / "said")
    with pytest.raises(ValueError, match="endless data set.*`take"):
        cache_teacher(teacher, batches.repeat(), tmp_path / "endless")
    weighted = tf.data.Dataset.from_tensor_slices((*data, data[1])).batch(9)
    with pytest.raises(ValueError, match="3 parts. Leave sample weights out"):
        cache_teacher(teacher, weighted, tmp_path / "weighted")
    with pytest.raises(ValueError, match="nothing to cache"):
        cache_teacher(teacher, batches.take(0), tmp_path / "empty")


def test_teachers_of_several_outputs(tmp_path, data):
    inputs = keras.Input((8, 8, 2))
    x = keras.layers.Flatten()(inputs)
    outputs = [keras.layers.Dense(n)(x) for n in (3, 12, 2)]
    teacher = keras.Model(inputs, outputs)
    cache = cached(teacher, data, tmp_path / "said")
    expected = teacher.predict(data[0], verbose=0)
    for found, wanted in zip(cache.outputs, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert len(cache.dataset()[0][1]["teacher_outputs"]) == 3


def test_what_is_written_is_compressed(tmp_path):
    """Of a certain teacher, whose outputs are mostly zeros."""
    x = np.zeros((2000, 6), "float32")
    teacher = keras.Sequential([keras.Input((6,)), keras.layers.ReLU()])
    cache = cache_teacher(teacher, x, tmp_path / "said")
    files = (tmp_path / "said").glob("*.npz")
    assert sum(path.stat().st_size for path in files) < 0.1 * x.nbytes
    assert cache.count == 2000
    manifest = json.loads((tmp_path / "said" / "cache.json").read_text())
    assert manifest["chunk_size"] == 1024 and manifest["dtype"] == "float32"


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"dtype": "int8"}, r"`dtype` must be one of \['float32', 'float16'\]"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"chunk_size": 0}, "`chunk_size` must be at least 1"),
    ],
)
def test_wrong_arguments_are_refused(teacher, data, tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        cached(teacher, data, tmp_path / "said", **wrong)
    assert not (tmp_path / "said").exists()


def test_wrong_data_is_refused(teacher, data, tmp_path):
    x, y = data
    with pytest.raises(ValueError, match=r"as many samples.*\[49, 50\]"):
        cached(teacher, (x, y[:49]), tmp_path / "said")
    with pytest.raises(
        TypeError, match="Received: the path 'photos'.*image_da"
    ):
        cache_teacher(teacher, "photos", tmp_path / "said")
    with pytest.raises(TypeError, match="`teacher` must be a Keras model"):
        cached("teacher.keras", data, tmp_path / "said")
    batches = tf.data.Dataset.from_tensor_slices(data).batch(9)
    with pytest.raises(ValueError, match="Received: `y` beside"):
        cached(teacher, (batches, y), tmp_path / "said")


def test_probabilities_are_known_as_such(data, tmp_path):
    """A student of logits learns from a recorded teacher of probabilities."""
    losses, student = [], classifier(4, 1, "student")
    for softmax in (False, True):
        teacher = classifier(6, 0, "teacher", softmax)
        folder = tmp_path / str(softmax)
        cached(teacher, data, folder)
        cache = cached(None, data, folder)
        assert cache.teacher.from_logits == (not softmax,)
        model = distiller(cache.teacher, student, jit_compile=JIT)
        losses.append(model.evaluate(cache.dataset(50), verbose=0))
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert np.max(losses) > 0.1


def test_teachers_that_do_not_tell_are_cached(data, tmp_path):
    class Own(keras.Model):
        def call(self, inputs):
            return inputs[:, 0, 0]

    cache = cached(Own(), data, tmp_path / "said")
    np.testing.assert_array_equal(cache.outputs, data[0][:, 0, 0])
    assert cache.teacher.from_logits is None
