"""Trains the networks that come with the package.

    python tests/benchmarks/make_pretrained.py STAGE --data DATA --work WORK

`DATA` holds `photos/`, `styles/starry_night.jpg`, the `.tflite` of 2018 and
the VGG16 features. Stages, in this order, each resumable after a kill:

    imitation   large network, alpha 0.25, from random weights: the pixels of
                the network of 2018
    teacher     the same network, perceptual fine-tuning on the painting
    student     small network, alpha 0.3: the pixels of our teacher
    tiny        small network, alpha 0.25 (9,830 weights): likewise

Each stage leaves `WORK/STAGE.npz` (float32), and `judge.py` measures it.
"""

import argparse
import pathlib
import time

import keras
import numpy as np

from fritz_compress import training
from fritz_compress.convert.style_transfer_2018 import load_style_transfer_2018
from fritz_compress.models import (
    SmallStyleTransferNetwork,
    StyleTransferNetwork,
    VGG16Features,
)

# Photos of DATA/photos that no training sees, beside china and chelsea.
HELD_OUT = ("autumn", "dog", "freshflower", "garden", "kite", "path")


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
        steps=args.steps or 6000,
        learning_rate=1e-2,
        backup_dir=backup,
        callbacks=[Progress()],
    )


def teacher(args, photos):
    style = training.read_photo(args.data / "styles" / "starry_night.jpg")
    model = StyleTransferNetwork.build(
        None, 0.25, checkpoint_file=args.work / "imitation.npz"
    )
    extractor = VGG16Features.build(
        args.data / "vgg16_block1_to_block4_float16.npz"
    )
    return model, lambda backup: training.train_perceptual(
        model,
        extractor,
        np.asarray(style.resize((256, 256))),
        photos,
        steps=args.steps or 1000,
        style_weight=args.style_weight,
        learning_rate=args.learning_rate or 1e-3,
        backup_dir=backup,
        callbacks=[Progress()],
    )


def student(args, photos, alpha=0.3):
    teacher = StyleTransferNetwork.build(
        None, 0.25, checkpoint_file=args.work / f"{args.teacher}.npz"
    )
    model = SmallStyleTransferNetwork.build(None, alpha)
    return model, lambda backup: training.distill(
        teacher,
        model,
        photos,
        steps=args.steps or 20000,
        learning_rate=args.learning_rate or 3e-2,
        texture_weight=args.texture_weight,
        backup_dir=backup,
        callbacks=[Progress()],
    )


def tiny(args, photos):
    return student(args, photos, alpha=0.25)


STAGES = {
    stage.__name__: stage for stage in (imitation, teacher, student, tiny)
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--name", help="of the result, default: the stage's")
    parser.add_argument("--teacher", default="teacher")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--style-weight", type=float, default=1e-4)
    parser.add_argument("--texture-weight", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    args = arguments()
    name = args.name or args.stage
    keras.utils.set_random_seed(args.seed)
    photos = training.Photos(args.data / "photos", exclude=HELD_OUT)
    model, train = STAGES[args.stage](args, photos + training.Photos())
    started = time.time()
    train(args.work / f"{name}.backup")
    print(f"{name}: {time.time() - started:.0f} s, {len(photos)} photos")
    np.savez(
        args.work / f"{name}.npz",
        **{weight.path: np.asarray(weight) for weight in model.weights},
    )


if __name__ == "__main__":
    main()
