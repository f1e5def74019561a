from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "distill"


def command(
    teacher: options.Network,
    output: options.KerasFile,
    photos: options.TrainingPhotos = None,
    architecture: options.Architecture = "small",
    alpha: options.Alpha = 0.3,
    initial: options.Initial = None,
    steps: options.Steps = 10000,
    batch_size: options.BatchSize = 4,
    crop_size: options.CropSize = 128,
    learning_rate: options.LearningRate = 3e-2,
    texture_weight: Annotated[float, typer.Option()] = 0.3,
    prune: options.Prune = 0.0,
    skip_broken: options.SkipBroken = False,
    backup: options.Backup = None,
    seed: options.Seed = 0,
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
        fitting.read_photos(photos, skip_broken),
        steps=steps,
        crop_size=crop_size,
        batch_size=batch_size,
        learning_rate=learning_rate,
        texture_weight=texture_weight,
        seed=seed,
        backup_dir=backup,
        callbacks=fitting.callbacks("distilling", steps, prune),
    )
    fitting.save_network(student, output)
