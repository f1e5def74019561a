import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import norms, options

NAME = "sensitivity"


def command(
    network: options.Network,
    data: Annotated[
        pathlib.Path, typer.Argument(help="An .npz with arrays x and y.")
    ],
    kind: Annotated[
        str, typer.Option(help="What to zero: filters or weights.")
    ] = "filters",
    criterion: options.Criterion = "l1",
    loss: Annotated[
        str | None,
        typer.Option(help="A loss of Keras; default: the file's."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="The metric that counts; default: the file's."),
    ] = None,
    max_loss: Annotated[
        float, typer.Option(min=0, help="Allowed loss of the metric.")
    ] = 0.01,
    jobs: Annotated[
        int, typer.Option(help="Processes; -1 for one per core.")
    ] = 1,
    resume: Annotated[
        pathlib.Path | None,
        typer.Option(help="File to go on from after a kill."),
    ] = None,
    csv: Annotated[
        pathlib.Path | None, typer.Option(help="Table to write.")
    ] = None,
    plot: Annotated[
        pathlib.Path | None,
        typer.Option(help="Picture to write: .png, .pdf or .svg."),
    ] = None,
) -> None:
    """Measure what each layer loses when a part of it is zeroed."""
    from fritz_compress.analysis import sensitivity
    from fritz_compress.cli import console
    from fritz_compress.cli.networks import load_compiled

    options.check_criterion(criterion)
    _check_output(csv, (".csv",))
    _check_output(plot, norms.SUFFIXES)
    x, y = console.read_arrays(data, ("x", "y"))
    model = load_compiled(network, loss, metric)
    with console.progress_bar() as progress:
        task = progress.add_task("evaluating", total=None, detail="")
        table = sensitivity(
            model,
            x,
            y,
            metric=metric,
            kind=kind,
            criterion=criterion,
            n_jobs=jobs,
            resume_file=resume,
            on_point=lambda done, total, _: progress.update(
                task, completed=done, total=total
            ),
        )
        points = len(table.rows)  # A sweep that was complete had no points.
        progress.update(task, completed=points, total=points)
    _write(table, csv, plot)
    console.console.print(str(table), highlight=False, soft_wrap=True)
    console.table(
        f"{table.kind} to zero for a loss of at most {max_loss:g}",
        ("layer", "fraction"),
        _suggested(table, max_loss),
    )


def _suggested(table, max_loss):
    """Cells: a layer, with those that shrink with it, and its fraction."""
    for layer, fraction in table.suggest(max_loss).items():
        tied = ", ".join(table.tied.get(layer, ()))
        name = f"{layer} (with {tied})" if tied else layer
        yield name, f"{fraction:g}"


def _check_output(output, suffixes):
    from fritz_compress.files import check_suffix

    if output is not None:
        check_suffix(output, suffixes)
        if not output.parent.is_dir():
            raise ValueError(f"No folder '{output.parent}' for '{output}'.")


def _write(table, csv, plot):
    from fritz_compress.files import whole_file

    if csv is not None:
        with whole_file(csv) as unfinished:
            unfinished.write_text(table.to_csv())
    if plot is not None:
        with whole_file(plot) as unfinished:
            table.plot().savefig(unfinished)
