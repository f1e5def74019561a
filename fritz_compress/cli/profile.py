import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "profile"
_IN_MEMORY = 32  # Bits of a number, unless they are asked for.


def command(
    network: Annotated[
        str,
        typer.Argument(
            help="A .keras, .h5 or .tflite file, or a name of ours."
        ),
    ],
    size: options.Size = None,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated.")] = (
        False
    ),
    bits: Annotated[
        int, typer.Option(min=1, help="Sizes at so many bits per number, too.")
    ] = 8,
    runs: Annotated[
        int, typer.Option(min=1, help="Timed runs of a .tflite file.")
    ] = 15,
) -> None:
    """What every layer costs; of a .tflite file, how long it takes."""
    from fritz_compress.cli import console

    if pathlib.Path(network).suffix.lower() == ".tflite":
        text = _latency(network, runs)
    else:
        text = _costs(network, console.parse_size(size), csv, bits)
    console.console.print(text, highlight=False, soft_wrap=True)


def _costs(network, size, csv, bits):
    from fritz_compress.analysis import profile
    from fritz_compress.cli.networks import load_network, open_size

    model = load_network(network)
    result = profile(model, size or open_size(model))
    if csv:
        return result.to_csv()
    return result.summary(sorted({_IN_MEMORY, bits}, reverse=True))


def _latency(path, runs):
    from fritz_compress.analysis import profile
    from fritz_compress.cli import console

    with console.working("timing, all settings in turn"):
        table = profile.latency(path, runs=runs)
    return str(table)
