import pathlib
from typing import Annotated

import typer

NAME = "train"


def command(
    style: Annotated[pathlib.Path, typer.Argument(help="The painting.")],
    output: Annotated[pathlib.Path, typer.Argument(help="A .keras file.")],
    photos: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of photos; default: a few that are here."),
    ] = None,
    vgg16: Annotated[
        str,
        typer.Option(
            help="VGG16 features: 'imagenet' (downloads), a .h5 or .npz file."
        ),
    ] = "imagenet",
    architecture: Annotated[str, typer.Option(help="large or small.")] = (
        "large"
    ),
    alpha: Annotated[float, typer.Option(help="Width multiplier.")] = 0.25,
    initial: Annotated[
        pathlib.Path | None,
        typer.Option(help="Weights to start from, better than from none."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1)] = 10000,
    batch_size: Annotated[int, typer.Option(min=1)] = 2,
    crop_size: Annotated[int, typer.Option(min=16)] = 128,
    style_size: Annotated[
        int, typer.Option(help="Side of the painting in pixels.", min=16)
    ] = 256,
    learning_rate: Annotated[float, typer.Option()] = 3e-3,
    content_weight: Annotated[float, typer.Option()] = 1.0,
    style_weight: Annotated[float, typer.Option()] = 1e-4,
    variation_weight: Annotated[float, typer.Option()] = 10.0,
    prune: Annotated[
        float, typer.Option(help="Fraction of filters to remove.")
    ] = 0.0,
    skip_broken: Annotated[
        bool, typer.Option(help="Leave out files that can not be decoded.")
    ] = False,
    backup: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder to resume from after a kill."),
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
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
        training.Photos(photos, skip_broken),
        steps=steps,
        crop_size=crop_size,
        batch_size=batch_size,
        learning_rate=learning_rate,
        content_weight=content_weight,
        style_weight=style_weight,
        variation_weight=variation_weight,
        seed=seed,
        backup_dir=backup,
        callbacks=[
            fitting.TrainingProgress("training", steps),
            *fitting.pruning_callbacks(prune, steps),
        ],
    )
    fitting.save_network(model, output)
