import pathlib
from typing import Annotated

import typer

NAME = "distill"


def command(
    teacher: Annotated[
        str, typer.Argument(help="A .keras file or a name of ours.")
    ],
    output: Annotated[pathlib.Path, typer.Argument(help="A .keras file.")],
    photos: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of photos; default: a few that are here."),
    ] = None,
    architecture: Annotated[str, typer.Option(help="large or small.")] = (
        "small"
    ),
    alpha: Annotated[float, typer.Option(help="Width multiplier.")] = 0.3,
    initial: Annotated[
        pathlib.Path | None, typer.Option(help="Weights to start from.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1)] = 10000,
    batch_size: Annotated[int, typer.Option(min=1)] = 4,
    crop_size: Annotated[int, typer.Option(min=16)] = 128,
    learning_rate: Annotated[float, typer.Option()] = 3e-2,
    texture_weight: Annotated[float, typer.Option()] = 0.3,
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
    """Train a small network on the exact pixels of a large one."""
    import keras

    from fritz_compress import training
    from fritz_compress.cli import fitting
    from fritz_compress.cli.networks import build_network, load_network

    fitting.check_output(output)
    keras.utils.set_random_seed(seed)
    student = build_network(architecture, alpha, initial)
    training.distill(
        load_network(teacher),
        student,
        training.Photos(photos, skip_broken),
        steps=steps,
        crop_size=crop_size,
        batch_size=batch_size,
        learning_rate=learning_rate,
        texture_weight=texture_weight,
        seed=seed,
        backup_dir=backup,
        callbacks=[
            fitting.TrainingProgress("distilling", steps),
            *fitting.pruning_callbacks(prune, steps),
        ],
    )
    fitting.save_network(student, output)
