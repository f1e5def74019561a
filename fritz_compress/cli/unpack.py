import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "unpack"


def command(
    file: Annotated[
        pathlib.Path, typer.Argument(help="A .fcz file that pack wrote.")
    ],
    output: options.KerasFile,
) -> None:
    """Write the network in a packed file as a plain Keras file."""
    from fritz_compress.cli import console
    from fritz_compress.files import check_suffix, whole_file
    from fritz_compress.storage import load_compressed

    check_suffix(output, (".keras",))
    model = load_compressed(file)
    with whole_file(output) as unfinished:
        model.save(unfinished)
    console.console.print(
        f"{output}: {model.count_params():,} weights",
        highlight=False,
        soft_wrap=True,
    )
