import pathlib
from typing import Annotated

import typer

NAME = "demo"


def command(
    output: Annotated[
        pathlib.Path, typer.Option(help="Folder to leave everything in.")
    ] = pathlib.Path("fritz-demo"),
    steps: Annotated[
        int, typer.Option(help="Steps of fine-tuning.", min=1)
    ] = 400,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Convert, prune and check the 17 KB style networks, in three minutes."""
    from fritz_compress.cli import console
    from fritz_compress.cli.demonstration import Demonstration

    output.mkdir(parents=True, exist_ok=True)
    demonstration = Demonstration(output, seed)
    demonstration.convert_flat()
    demonstration.fine_tune_and_prune(steps)
    rows = demonstration.measure()
    demonstration.draw()
    console.table(
        "Each against the teacher, on photos no training saw, 256x256",
        rows[0],
        rows[1:],
    )
    console.console.print(
        "MMACs: million multiply-accumulates. ms: LiteRT, one thread of this "
        "machine, in turns; Core ML files run in our interpreters, whose time "
        "says nothing about a phone. PSNR (dB) and SSIM to the teacher. "
        "Texture: mean |dx| + |dy| in grey levels.\n"
        f"Pictures: {output / 'demo.png'}, table: {output / 'demo.csv'}",
        soft_wrap=True,
    )
