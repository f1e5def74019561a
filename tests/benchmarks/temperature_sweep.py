"""Which temperature teaches best? Fashion-MNIST, a student of 3,858 weights.

    python tests/benchmarks/temperature_sweep.py --work FOLDER [--data FOLDER]

Trains a teacher of 70,746 weights on cropped and mirrored images, and a small
student on what it says about the images as they are: at temperatures 1, 2, 4,
8 and 16 with a weight of 0.9 beside the labels, and on labels alone. Three
seeds each, which set the first weights and the order of the images; the same
three for all. What the teacher says is computed once. At last an epoch with
the outputs from disk and one with the teacher are timed in turn. Seconds are
those of the processor, not of the clock.

Writes `temperature_sweep.csv`: a row for each training, mean and spread (the
standard deviation over the seeds, of a sample) for each temperature. Results
so far are kept in FOLDER: the same command goes on after a kill. One thread.
"""

import argparse
import json
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
from fashion_mnist_data import load
from keras import layers
from result_tables import made_with, write

from fritz_compress import distillation, training
from fritz_compress.files import whole_file

RESULTS = pathlib.Path(__file__).with_suffix(".csv")
TEMPERATURES = (1, 2, 4, 8, 16)
SEEDS = (0, 1, 2)
BATCH = 128
TEACHER_EPOCHS, EPOCHS = 8, 10
HARD_WEIGHT = 0.1
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def teacher_network():
    return network("teacher", [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1)])


def student_network():
    return network("student", [(8, 2), (16, 2), (16, 1)])


def network(name, convolutions):
    """3x3 convolutions, each normalized, and a dense layer on their means."""
    image = x = keras.Input((28, 28, 1), name="image")
    for filters, stride in convolutions:
        x = layers.Conv2D(filters, 3, stride, "same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10)(x), name=name)


def trained_teacher(data, work):
    path = work / "teacher.keras"
    if not path.exists():
        keras.utils.set_random_seed(0)
        model = teacher_network()
        steps = len(data.train) // BATCH
        rate = training.warmup_cosine(5e-3, TEACHER_EPOCHS * steps)
        model.compile(keras.optimizers.Adam(rate), LOSS)
        model.fit(
            data.batches(BATCH, seed=0),
            epochs=TEACHER_EPOCHS,
            steps_per_epoch=steps,
            shuffle=False,  # The batches are shuffled already.
            verbose=2,
        )
        with whole_file(path) as unfinished:
            model.save(unfinished)
    return keras.saving.load_model(path)


def trained_student(teacher, temperature, seed, data, work):
    """One row: a student of a temperature, or of labels alone."""
    keras.utils.set_random_seed(seed)
    student = student_network()
    start = time.process_time()
    training.distill_classifier(
        teacher,
        student,
        data.train,
        data.train_labels,
        epochs=EPOCHS,
        temperature=temperature or 1.0,
        hard_weight=HARD_WEIGHT if temperature else 1.0,
        batch_size=BATCH,
        learning_rate=1e-2,
        cache_dir=work / "said",
        seed=seed,
    )
    seconds = (time.process_time() - start) / EPOCHS
    return {
        "temperature": temperature,
        "seed": seed,
        "validation": accuracy(
            student, data.validation, data.validation_labels
        ),
        "test": accuracy(student, data.test, data.test_labels),
        "epoch_cpu_seconds": seconds,
    }


def accuracy(model, images, labels):
    predicted = model.predict(images, 500, verbose=0).argmax(-1)
    return float((predicted == labels).mean())


def sweep(teacher, data, work):
    """A row for each training; those that are done are not repeated."""
    path = work / "rows.jsonl"
    rows = []
    if path.exists():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    done = {(row["temperature"], row["seed"]) for row in rows}
    for seed in SEEDS:
        for temperature in (0, *TEMPERATURES):
            if (temperature, seed) not in done:
                row = trained_student(teacher, temperature, seed, data, work)
                print(row, flush=True)
                rows.append(row)
                with whole_file(path) as unfinished:
                    lines = "\n".join(map(json.dumps, rows))
                    unfinished.write_text(lines + "\n")
    return sorted(rows, key=lambda row: (row["temperature"], row["seed"]))


def epochs_in_turn(teacher, data, work):
    """Median seconds of an epoch, outputs from disk and by the teacher."""
    cache = training.cache_teacher(
        teacher, data.train, work / "said", data.train_labels, batch_size=BATCH
    )
    arguments = {
        "disk": (cache.dataset(BATCH),),
        "teacher": (data.train, data.train_labels, BATCH),
    }
    models = {
        "disk": distillation.distiller(cache.teacher, student_network()),
        "teacher": distillation.distiller(teacher, student_network()),
    }
    seconds = {name: [] for name in models}
    for _ in range(4):
        for name, model in models.items():
            start = time.process_time()
            model.fit(*arguments[name], verbose=0)
            seconds[name].append(time.process_time() - start)
    # The first ones compile.
    return {name: float(np.median(each[1:])) for name, each in seconds.items()}


def summary(rows):
    for temperature in (0, *TEMPERATURES):
        group = [row for row in rows if row["temperature"] == temperature]
        yield from group
        yield {
            "temperature": temperature,
            "seed": "mean",
            **{
                key: np.mean([row[key] for row in group])
                for key in ("validation", "test", "epoch_cpu_seconds")
            },
            "test_spread": np.std([row["test"] for row in group], ddof=1),
        }


def rounded(row):
    return {
        key: f"{value:.4f}" if isinstance(value, float) else value
        for key, value in row.items()
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path)
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    data = load(args.data)
    teacher = trained_teacher(data, args.work)
    rows = list(summary(sweep(teacher, data, args.work)))
    for row in rows:
        row["taught_by"] = "teacher" if row["temperature"] else "labels"
        row["temperature"] = row["temperature"] or ""
    test = accuracy(teacher, data.test, data.test_labels)
    rows.insert(0, {"taught_by": "the teacher itself", "test": test})
    for name, seconds in epochs_in_turn(teacher, data, args.work).items():
        what = f"an epoch in turn, outputs from the {name}"
        rows.append({"taught_by": what, "epoch_cpu_seconds": seconds})
    same = made_with()
    columns = ["taught_by", "temperature", "seed", "validation", "test"]
    columns += ["test_spread", "epoch_cpu_seconds", *same]
    write(RESULTS, [{**rounded(row), **same} for row in rows], columns)


if __name__ == "__main__":
    main()
