"""Trains the networks that come with the package.

    python tests/benchmarks/make_pretrained.py STAGE --data DATA --work WORK

`DATA` holds `photos/`, `styles/starry_night.jpg`, the `.tflite` of 2018 and
the VGG16 features. Stages, in this order, each resumable after a kill:

    imitation   large network, alpha 0.25, from random weights: the pixels of
                the network of 2018
    painter     the same network, perceptual fine-tuning on the painting
    teacher     the mean of the weights of both, in float16: the strokes of
                the painter without its artefacts in flat areas
    student     small network, alpha 0.3: the pixels of the teacher
    tiny        the student pruned from 9 to 8 filters per layer during more
                distillation: 9,830 weights
    folded      the student with batch normalization, started from averages of
                its statistics: the pixels of the teacher
    rounded     the folded network, more of the same with coarsely rounded
                activations, so that an integer file paints as it does
    flat        flat network, alpha 0.5 (16 channels): the pixels of the
                teacher, half as much of its regular grid
    flat_wide   the same, alpha 1.0 (32 channels)
    flat_tiny   the same, alpha 0.375 (12 channels)
    scream      the network of `flat`, perceptual training on another painting
    publish     what is in WORK of all but imitation, painter and folded, into
                the package

Each stage leaves `WORK/STAGE.npz`, and `judge.py` measures it. Fine-tuned
networks can be averaged with what they started from: Wortsman et al., "Model
soups", https://arxiv.org/abs/2203.05482.
"""

import argparse
import pathlib
import time

import keras
import numpy as np
from keras import ops

import fritz_compress.pretrained
from fritz_compress import training
from fritz_compress.callbacks import FilterPruning
from fritz_compress.convert.style_transfer_2018 import load_style_transfer_2018
from fritz_compress.models import (
    FlatStyleTransferNetwork,
    SmallStyleTransferNetwork,
    StyleTransferNetwork,
    VGG16Features,
)
from fritz_compress.surgery import fold_normalization, remove_pruned_filters

# Photos of DATA/photos that no training sees, beside china and chelsea.
HELD_OUT = ("autumn", "dog", "freshflower", "garden", "kite", "path")

# Network of the package: the stage that makes it.
PUBLISHED = {
    "starry_night_teacher": "teacher",
    "starry_night_student": "student",
    "starry_night_tiny": "tiny",
    "starry_night_folded": "rounded",
    "starry_night_flat": "flat",
    "starry_night_flat_wide": "flat_wide",
    "starry_night_flat_tiny": "flat_tiny",
    "the_scream_flat": "scream",
}
HALF_PRECISION = ("teacher", "flat", "flat_wide", "flat_tiny", "scream")


class Progress(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch % 5 == 4:
            seconds = time.time() - self.started
            print(f"epoch {epoch + 1} {seconds:.0f} s {logs}", flush=True)

    def on_train_begin(self, logs=None):
        self.started = time.time()


def imitation(args, photos):
    teacher = load_style_transfer_2018(
        args.data / "starry_night_640x480_025.tflite"
    )
    student = StyleTransferNetwork.build(None, 0.25)
    return student, lambda backup: training.distill(
        teacher,
        student,
        photos,
        steps=args.steps or 5000,
        learning_rate=1e-2,
        backup_dir=backup,
        callbacks=[Progress()],
    )


def painting(args, model, photos, name, steps, **arguments):
    """A training on the painting of this name."""
    style = training.read_photo(args.data / "styles" / f"{name}.jpg")
    extractor = VGG16Features.build(
        args.data / "vgg16_block1_to_block4_float16.npz"
    )
    return model, lambda backup: training.train_perceptual(
        model,
        extractor,
        np.asarray(style.resize((256, 256))),
        photos,
        steps=args.steps or steps,
        backup_dir=backup,
        callbacks=[Progress()],
        **arguments,
    )


def painter(args, photos):
    model = large(args.work / "imitation.npz")
    return painting(
        args, model, photos, "starry_night", 800, learning_rate=1e-3
    )


def teacher(args, photos):
    model = large(args.work / "imitation.npz")
    other = large(args.work / "painter.npz").get_weights()
    means = [(a + b) / 2 for a, b in zip(model.get_weights(), other)]
    model.set_weights([mean.astype("float16") for mean in means])
    return model, lambda backup: None


def student(args, photos):
    model = SmallStyleTransferNetwork.build(None, 0.3)
    return model, lambda backup: training.distill(
        large(args.work / "teacher.npz"),
        model,
        photos,
        steps=args.steps or 14000,
        backup_dir=backup,
        callbacks=[Progress()],
    )


def tiny(args, photos):
    model = small(args.work / "student.npz")
    steps = args.steps or 5000
    pruning = FilterPruning(0.25, end_step=steps // 4, frequency=steps // 50)
    return model, lambda backup: training.distill(
        large(args.work / "teacher.npz"),
        model,
        photos,
        steps=steps,
        learning_rate=1e-2,
        backup_dir=backup,
        callbacks=[pruning, Progress()],
    )


def folded(args, photos):
    crops = [photos.crop(i, 256, args.seed) for i in range(len(photos))]
    model = fold_normalization(
        small(args.work / "student.npz"), np.stack(crops)
    )
    return model, lambda backup: training.distill(
        large(args.work / "teacher.npz"),
        model,
        photos,
        steps=args.steps or 6000,
        learning_rate=1e-2,
        fixed_statistics=True,
        backup_dir=backup,
        callbacks=[Progress()],
    )


class Rounding(keras.layers.Layer):
    """Rounds to 7 bits over the range of the batch; gradients pass."""

    def call(self, x):
        step = (ops.max(x) - ops.min(x)) / 127
        rounded = ops.round(x / step) * step
        return x + ops.stop_gradient(rounded - x)


class RoundedNetwork(SmallStyleTransferNetwork):
    """The small network as 7-bit integers see it, nearly."""

    @classmethod
    def prepare(cls, x):
        return Rounding()(super().prepare(x))

    @classmethod
    def convolution(cls, x, *arguments, **options):
        return Rounding()(super().convolution(x, *arguments, **options))

    @classmethod
    def residual_block(cls, x, *arguments, **options):
        return Rounding()(super().residual_block(x, *arguments, **options))


def rounded(args, photos):
    model = RoundedNetwork.build(
        None,
        0.3,
        normalization="batch",
        checkpoint_file=args.work / "folded.npz",
    )
    return model, lambda backup: training.distill(
        large(args.work / "teacher.npz"),
        model,
        photos,
        steps=args.steps or 2000,
        learning_rate=5e-3,
        fixed_statistics=True,
        backup_dir=backup,
        callbacks=[Progress()],
    )


def flat(args, photos, alpha=0.5, steps=8000):
    model = FlatStyleTransferNetwork.build(None, alpha)
    return model, lambda backup: training.distill(
        large(args.work / "teacher.npz"),
        model,
        photos,
        steps=args.steps or steps,
        grid_weight=1.0,
        grid_share=0.5,
        backup_dir=backup,
        callbacks=[Progress()],
    )


def flat_wide(args, photos):
    return flat(args, photos, 1.0, 4000)


def flat_tiny(args, photos):
    return flat(args, photos, 0.375, 4000)


def scream(args, photos):
    model = FlatStyleTransferNetwork.build(
        None, 0.5, checkpoint_file=args.work / "flat.npz"
    )
    return painting(
        *(args, model, photos, "the_scream", 1000),
        border=16,
        grid_weight=1e4,
    )


def publish(args):
    """In float16 where the card says so: nobody can see the difference."""
    package = pathlib.Path(fritz_compress.pretrained.__file__).parent
    for name, stage in PUBLISHED.items():
        with np.load(args.work / f"{stage}.npz") as archive:
            arrays = {name: archive[name] for name in archive.files}
        if stage in HALF_PRECISION:
            arrays = {k: v.astype("float16") for k, v in arrays.items()}
        np.savez_compressed(package / f"{name}.npz", **arrays)


def large(path):
    return StyleTransferNetwork.build(None, 0.25, checkpoint_file=path)


def small(path):
    return SmallStyleTransferNetwork.build(None, 0.3, checkpoint_file=path)


STAGES = {
    stage.__name__: stage
    for stage in (
        imitation,
        painter,
        teacher,
        student,
        tiny,
        folded,
        rounded,
        flat,
        flat_wide,
        flat_tiny,
        scream,
    )
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=[*STAGES, "publish"])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    args = arguments()
    if args.stage == "publish":
        publish(args)
        return
    keras.utils.set_random_seed(args.seed)
    photos = training.Photos(args.data / "photos", exclude=HELD_OUT)
    photos = photos + training.Photos()
    model, train = STAGES[args.stage](args, photos)
    started = time.time()
    train(args.work / f"{args.stage}.backup")
    model = remove_pruned_filters(model)
    print(
        f"{args.stage}: {time.time() - started:.0f} s, {len(photos)} photos, "
        f"{model.count_params():,} weights"
    )
    np.savez(
        args.work / f"{args.stage}.npz",
        **{weight.path: np.asarray(weight) for weight in model.weights},
    )


if __name__ == "__main__":
    main()
