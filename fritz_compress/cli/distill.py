import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "distill"
ARRAYS = ("x_train", "y_train", "x_val", "y_val")
# Defaults of photos, and of the arrays of a classifier.
_BATCH_SIZE, _LEARNING_RATE = (4, 128), (3e-2, 1e-3)


def command(
    teacher: options.Network,
    files: Annotated[
        list[pathlib.Path],
        typer.Argument(
            metavar="[DATA] OUTPUT",
            help="The .keras file to write; before it, to teach a classifier, "
            f"an .npz with arrays {', '.join(ARRAYS)}.",
        ),
    ],
    photos: options.TrainingPhotos = None,
    architecture: options.Architecture = "small",
    alpha: options.Alpha = 0.3,
    initial: options.Initial = None,
    steps: options.Steps = 10000,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Per step; default 4 crops, 128 samples."),
    ] = None,
    crop_size: options.CropSize = 128,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak; default 0.03 for photos, 0.001 with data."),
    ] = None,
    texture_weight: Annotated[float, typer.Option()] = 0.3,
    grid_weight: Annotated[
        float, typer.Option(help="Against dots every 4 pixels, for flat: 1.")
    ] = 0.0,
    grid_share: Annotated[
        float, typer.Option(help="Of the teacher's dots, how much to keep.")
    ] = 1.0,
    student: Annotated[
        pathlib.Path | None,
        typer.Option(help="With data: the .keras file of the student."),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="With data: softens what the teacher says.")
    ] = 4.0,
    hard_weight: Annotated[
        float, typer.Option(help="With data: weight of labels, 0 to 1.")
    ] = 0.1,
    epochs: Annotated[
        int, typer.Option(min=1, help="With data: passes over it.")
    ] = 10,
    cache: Annotated[
        pathlib.Path | None,
        typer.Option(help="With data: folder that keeps what is said."),
    ] = None,
    prune: options.Prune = 0.0,
    skip_broken: options.SkipBroken = False,
    backup: options.Backup = None,
    seed: options.Seed = 0,
) -> None:
    """Teach a small network the pixels, or the classes, of a large one."""
    import keras

    from fritz_compress.cli import fitting

    data, output = _data_and_output(files)
    fitting.check_output(output)
    if (data is None) != (student is None):
        raise ValueError(
            "A classifier is taught with DATA and --student, a style network "
            "with neither. Received: "
            f"{'--student' if data is None else f'{data}'} alone."
        )
    keras.utils.set_random_seed(seed)
    is_classifier = data is not None
    same = {
        "batch_size": batch_size or _BATCH_SIZE[is_classifier],
        "learning_rate": (
            _LEARNING_RATE[is_classifier]
            if learning_rate is None
            else learning_rate
        ),
        "seed": seed,
        "backup_dir": backup,
    }
    if is_classifier:
        taught = _classifier(
            *(teacher, data, student, epochs, prune, same),
            temperature=temperature,
            hard_weight=hard_weight,
            cache_dir=cache,
        )
    else:
        taught = _style_network(
            teacher,
            (architecture, alpha, initial),
            fitting.read_photos(photos, skip_broken),
            prune,
            steps=steps,
            crop_size=crop_size,
            texture_weight=texture_weight,
            grid_weight=grid_weight,
            grid_share=grid_share,
            **same,
        )
    fitting.save_network(taught, output)


def _data_and_output(files):
    """The paths of `[DATA] OUTPUT`."""
    if len(files) > 2 or (len(files) == 2 and files[0].suffix != ".npz"):
        raise ValueError(
            "Expected TEACHER OUTPUT, or TEACHER DATA OUTPUT with an .npz file "
            f"of data. Received: {' '.join(map(str, files))} after the teacher."
        )
    return (files[0] if len(files) == 2 else None), files[-1]


def _style_network(teacher, how, photos, prune, **options):
    from fritz_compress import training
    from fritz_compress.cli import fitting
    from fritz_compress.cli.networks import build_network, load_network

    student = build_network(*how)
    training.distill(
        load_network(teacher),
        student,
        photos,
        callbacks=fitting.callbacks("distilling", options["steps"], prune),
        **options,
    )
    return student


def _classifier(teacher, data, path, epochs, prune, same, **options):
    from fritz_compress import training
    from fritz_compress.cli import fitting
    from fritz_compress.cli.console import console, read_arrays
    from fritz_compress.cli.networks import load_network

    x, y, x_val, y_val = read_arrays(data, ARRAYS)
    student = load_network(str(path))
    steps = epochs * -(-len(x) // same["batch_size"])
    history = training.distill_classifier(
        load_network(teacher),
        student,
        x,
        y,
        epochs=epochs,
        validation_data=(x_val, y_val),
        callbacks=fitting.callbacks("distilling", steps, prune),
        **same,
        **options,
    )
    accuracy = history.history["val_accuracy"][-1]
    console.print(f"accuracy {accuracy:.4f} on {len(x_val):,} held out")
    return student
