import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "pack"


def command(
    network: options.Network,
    output: Annotated[
        pathlib.Path, typer.Argument(help="The .fcz file to write.")
    ],
) -> None:
    """Store a network without loss in a small file, zeros and codes packed."""
    from fritz_compress.cli import console
    from fritz_compress.cli.networks import load_network
    from fritz_compress.files import check_suffix
    from fritz_compress.storage import SUFFIX, save_compressed

    check_suffix(output, (SUFFIX,))
    model = load_network(network)
    with console.working(f"packing into {output}"):
        report = save_compressed(model, output)
    head, *rows = report.rows()
    console.table(str(output), head, rows)
    console.console.print(report.summary, highlight=False, soft_wrap=True)
