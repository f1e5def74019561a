"""Half of EfficientNet-Lite0's multiply-accumulates, with photos alone.

    python tests/benchmarks/efficientnet_half.py --photos FOLDER --work WORK
        [--held-out NAME ...] [--size 152] [--crops 4000] [--epochs 5]

The network with the weights of its authors (extra `imagenet`) teaches itself
at a lower resolution: a copy that makes its 224x224 input smaller learns, from
unlabelled crops of photos, to say what the original says of them. What it is
measured by is how often both name the same class first, on crops of photos
that no training saw. Adds a row to `efficientnet_half.csv` before the training
and one after it; one that was killed goes on from its last epoch, and with
`--epochs 0` there is none.

Every second crop is mixed with another, which makes more of few photos (Beyer
et al., "Knowledge distillation: A good teacher is patient and consistent",
https://arxiv.org/abs/2106.05237, section 3).

The crops are squares with sides from 224 pixels to the whole photo. Many show
nothing that ImageNet has a class for, so that little changes the answer (try
`--size 208 --epochs 0`). Agreement where the original is sure, which gives its
first class more than one half there, is listed beside.
"""

import argparse
import datetime
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from result_tables import replace

from fritz_compress import training
from fritz_compress.analysis import profile
from fritz_compress.models import EfficientNetLite0

TABLE = pathlib.Path(__file__).with_suffix(".csv")
HELD_OUT = ("autumn", "dog", "freshflower", "garden", "kite", "path")
INPUT = 224
BATCH = 32
SURE = 0.5


def original():
    return EfficientNetLite0.build(checkpoint_file="imagenet")


def smaller(size):
    """The same weights, on pictures that are made smaller first."""
    photos = keras.Input((INPUT, INPUT, 3), name="photo")
    model = EfficientNetLite0.build(
        None, input_tensor=layers.Resizing(size, size, name="smaller")(photos)
    )
    model.set_weights(original().get_weights())
    return model


def crops(photos, count, seed):
    pictures = [photos.crop(i, INPUT, seed) for i in range(count)]
    return np.stack(pictures).astype("float32")


def mixed(pictures, seed):
    """Every second picture with a random share of the one before it."""
    shares = np.random.default_rng(seed).uniform(size=len(pictures) // 2)
    shares = shares.astype("float32")[:, None, None, None]
    pictures[1::2] += shares * (pictures[::2][: len(shares)] - pictures[1::2])
    return pictures


def split(args):
    """Photos to learn from, and photos to judge by."""
    names = {path.stem for path in args.photos.iterdir()}
    learned = training.Photos(args.photos, exclude=args.held_out)
    judged = training.Photos(args.photos, exclude=names - set(args.held_out))
    return learned + training.Photos(), judged


def freeze_statistics(model):
    """Some 40 photos are few: those of ImageNet stay."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False


def scores(model, pictures, answers):
    """Agreement, the same where the original is sure, and how often it is."""
    found = model.predict(pictures, batch_size=BATCH, verbose=0)
    same = found.argmax(-1) == answers.argmax(-1)
    sure = answers.max(-1) > SURE
    return same.mean(), same[sure].mean(), sure.mean()


def add(stage, student, found, seconds, args):
    macs = profile(student).macs
    numbers = zip(("agreement", "sure_agreement", "sure"), found)
    row = {
        "stage": stage,
        "size": args.size,
        "macs": macs,
        "share": round(macs / profile(original()).macs, 4),
        "crops": args.crops,
        "epochs": args.epochs,
        "learning_rate": args.learning_rate,
        **{name: round(float(number), 4) for name, number in numbers},
        "seconds": round(seconds),
        "seed": args.seed,
        "date": datetime.date.today().isoformat(),
        "versions": f"keras {keras.__version__} tensorflow {tf.__version__}",
    }
    print(row, flush=True)
    keys = ("stage", "size", "crops", "epochs", "learning_rate", "seed")
    replace(TABLE, [row], **{key: row[key] for key in keys})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--held-out", nargs="+", default=HELD_OUT)
    parser.add_argument("--size", type=int, default=152)
    parser.add_argument("--crops", type=int, default=4000)
    parser.add_argument("--judged", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)
    learned, judged = split(args)
    teacher, student = original(), smaller(args.size)
    pictures = crops(judged, args.judged, args.seed)
    answers = teacher.predict(pictures, batch_size=BATCH, verbose=0)
    add("made smaller", student, scores(student, pictures, answers), 0, args)
    if not args.epochs:
        return
    started = time.time()
    photos = mixed(crops(learned, args.crops, args.seed), args.seed)
    freeze_statistics(student)
    training.distill_classifier(
        teacher,
        student,
        photos,
        epochs=args.epochs,
        temperature=1.0,
        hard_weight=0.0,
        batch_size=BATCH,
        learning_rate=args.learning_rate,
        cache_dir=args.work / "answers",
        backup_dir=args.work / "backup",
        seed=args.seed,
        callbacks=[
            keras.callbacks.CSVLogger(args.work / "epochs.csv", append=True)
        ],
    )
    found = scores(student, pictures, answers)
    add("taught", student, found, time.time() - started, args)
    student.save(args.work / "student.keras")


if __name__ == "__main__":
    main()
