from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "profile"


def command(
    network: options.Network,
    size: options.Size = None,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated.")] = (
        False
    ),
) -> None:
    """Parameters, multiply-accumulates and bytes of every layer."""
    from fritz_compress.analysis import profile
    from fritz_compress.cli import console
    from fritz_compress.cli.networks import load_network, open_size

    model = load_network(network)
    result = profile(model, console.parse_size(size) or open_size(model))
    text = result.to_csv() if csv else str(result)
    console.console.print(text, highlight=False, soft_wrap=True)
