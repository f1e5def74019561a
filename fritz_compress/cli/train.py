import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "train"


def command(
    style: Annotated[pathlib.Path, typer.Argument(help="The painting.")],
    output: options.KerasFile,
    photos: options.TrainingPhotos = None,
    vgg16: Annotated[
        str,
        typer.Option(
            help="VGG16 features: 'imagenet' (downloads), a .h5 or .npz file."
        ),
    ] = "imagenet",
    architecture: options.Architecture = "large",
    alpha: options.Alpha = 0.25,
    initial: options.Initial = None,
    steps: options.Steps = 10000,
    batch_size: options.BatchSize = 2,
    crop_size: options.CropSize = 128,
    style_size: Annotated[
        int, typer.Option(help="Side of the painting in pixels.", min=16)
    ] = 256,
    learning_rate: options.LearningRate = 3e-3,
    content_weight: Annotated[float, typer.Option()] = 1.0,
    style_weight: Annotated[float, typer.Option()] = 1e-4,
    variation_weight: Annotated[float, typer.Option()] = 10.0,
    prune: options.Prune = 0.0,
    skip_broken: options.SkipBroken = False,
    backup: options.Backup = None,
    seed: options.Seed = 0,
) -> None:
    """Train a network on a painting, with the perceptual loss."""
    import keras
    import numpy as np

    from fritz_compress import training
    from fritz_compress.cli import fitting
    from fritz_compress.cli.networks import build_network
    from fritz_compress.models import VGG16Features

    fitting.check_output(output)
    keras.utils.set_random_seed(seed)
    painting = training.read_photo(style).resize((style_size, style_size))
    model = build_network(architecture, alpha, initial)
    training.train_perceptual(
        model,
        VGG16Features.build(vgg16),
        np.asarray(painting),
        fitting.read_photos(photos, skip_broken),
        steps=steps,
        crop_size=crop_size,
        batch_size=batch_size,
        learning_rate=learning_rate,
        content_weight=content_weight,
        style_weight=style_weight,
        variation_weight=variation_weight,
        seed=seed,
        backup_dir=backup,
        callbacks=fitting.callbacks("training", steps, prune),
    )
    fitting.save_network(model, output)
