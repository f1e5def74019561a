import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "norms"
SUFFIXES = (".png", ".pdf", ".svg")


def command(
    network: options.Network,
    picture: Annotated[
        pathlib.Path, typer.Argument(help="The .png, .pdf or .svg to write.")
    ],
) -> None:
    """Draw the sorted L1 norms of the filters of every convolution."""
    from fritz_compress.analysis import plots
    from fritz_compress.cli.console import console
    from fritz_compress.cli.networks import load_network
    from fritz_compress.files import check_suffix, whole_file

    check_suffix(picture, SUFFIXES)
    with whole_file(picture) as unfinished:
        plots.filter_norms(load_network(network)).savefig(unfinished)
    console.print(f"{picture} written", highlight=False, soft_wrap=True)
