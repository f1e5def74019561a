import contextlib
import logging
import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "prune"
ARRAYS = ("x_train", "y_train", "x_val", "y_val")


def command(
    network: Annotated[
        pathlib.Path, typer.Argument(help="The .keras file to prune.")
    ],
    data: Annotated[
        pathlib.Path,
        typer.Argument(
            help="An .npz with arrays x_train, y_train, x_val and y_val."
        ),
    ],
    output: options.KerasFile,
    floor: Annotated[
        float, typer.Option(help="What the metric must not fall below.")
    ],
    fraction: Annotated[
        float, typer.Option(help="Fraction of filters to remove at most.")
    ] = 0.5,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FRACTION: only these, in this order."),
    ] = None,
    metric: Annotated[
        str, typer.Option(help="The metric that counts.")
    ] = "accuracy",
    lower_is_better: Annotated[
        bool, typer.Option(help="The floor is a ceiling, as for a loss.")
    ] = False,
    criterion: options.Criterion = "l1",
    round_to: Annotated[
        int, typer.Option(help="Filters left are a multiple of this.")
    ] = 4,
    step_fraction: Annotated[
        float, typer.Option(help="Fraction of a layer removed in one step.")
    ] = 0.125,
    recovery_epochs: Annotated[
        int, typer.Option(help="Epochs within which the metric must recover.")
    ] = 10,
    sample_fraction: Annotated[
        float, typer.Option(help="Fraction of the data for these epochs.")
    ] = 0.1,
    final_epochs: Annotated[
        int, typer.Option(help="Epochs on all data at the end.")
    ] = 10,
    batch_size: Annotated[int, typer.Option(help="Samples per step.")] = 32,
    loss: Annotated[
        str | None,
        typer.Option(help="A loss of Keras; default: the file's."),
    ] = None,
    optimizer: Annotated[
        str, typer.Option(help="Goes with --loss; an optimizer of Keras.")
    ] = "adam",
    learning_rate: Annotated[
        float | None, typer.Option(help="Default: the file's.")
    ] = None,
    resume: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder to go on from after a kill."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
) -> None:
    """Remove filters layer by layer, and retrain, above a floor."""
    from fritz_compress import training
    from fritz_compress.cli import fitting
    from fritz_compress.cli.console import console, read_arrays
    from fritz_compress.files import whole_file

    # Every step compiles another network, of which TensorFlow warns.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    fitting.check_output(output)
    options.check_criterion(criterion)
    fractions = _fractions(layer) if layer else fraction
    arrays = read_arrays(data, ARRAYS)
    model = _compiled(network, loss, optimizer, metric, learning_rate)
    with _announced(resume) as (on_step, callbacks):
        smaller, report = training.prune_layer_by_layer(
            model,
            arrays[:2],
            arrays[2:],
            floor,
            fractions,
            monitor=metric,
            mode="min" if lower_is_better else "max",
            criterion=criterion,
            round_to=round_to,
            step_fraction=step_fraction,
            recovery_epochs=recovery_epochs,
            sample_fraction=sample_fraction,
            final_epochs=final_epochs,
            batch_size=batch_size,
            seed=seed,
            backup_dir=resume,
            callbacks=callbacks,
            on_step=on_step,
        )
    with whole_file(output) as unfinished:
        smaller.save(unfinished)
    written = f"{output}: {smaller.count_params():,} weights"
    console.print(f"{report}\n{written}", highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _announced(resume):
    """What moves a progress bar: after every step, and every epoch."""
    import keras

    from fritz_compress.cli.console import console, progress_bar

    with progress_bar() as progress:
        task = progress.add_task("pruning", total=None, detail="")
        done = 0

        def on_step(step, left):
            nonlocal done
            done += 1
            progress.update(task, completed=done, total=done + left)

        def on_epoch_end(epoch, logs):
            numbers = [f"{k} {v:.4g}" for k, v in logs.items() if "val_" in k]
            progress.update(task, detail=", ".join(numbers))

        try:
            callback = keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)
            yield on_step, [callback]
        except KeyboardInterrupt:
            if resume is not None:
                console.print(
                    f"Stopped. The same command goes on from '{resume}'."
                )
            raise
        progress.update(task, completed=done, total=done)


def _fractions(entries):
    """`["conv=0.5", ...]` as a plan: fractions by name."""
    found = {}
    for entry in entries:
        name, separator, number = entry.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            separator = ""
        if not separator:
            raise ValueError(
                "--layer is NAME=FRACTION, such as conv_1=0.5. Received: "
                f"'{entry}'."
            )
    return found


def _compiled(network, loss, optimizer, metric, learning_rate):
    from fritz_compress.cli.networks import load_network

    model = load_network(str(network), compiled=True)
    if loss is not None:
        metrics = None if metric == "loss" else [metric]
        model.compile(optimizer, loss, metrics=metrics)
    elif not model.compiled:
        raise ValueError(
            f"'{network}' comes without a loss. Name one, such as --loss "
            "sparse_categorical_crossentropy --learning-rate 0.001."
        )
    if learning_rate is not None:
        try:
            model.optimizer.learning_rate = learning_rate
        except TypeError as error:
            raise ValueError(
                f"The optimizer of '{network}' has a schedule: name --loss and "
                "--optimizer along with --learning-rate."
            ) from error
    return model
