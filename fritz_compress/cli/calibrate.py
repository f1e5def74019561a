import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "calibrate"


def command(
    network: options.Network,
    data: Annotated[
        pathlib.Path,
        typer.Argument(help="An .npz with an array x, or a folder of photos."),
    ],
    output: Annotated[
        pathlib.Path, typer.Argument(help="The .json file to write.")
    ],
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="How many samples to see; default: all."),
    ] = None,
    method: Annotated[
        str,
        typer.Option(help="minmax, average, percentile or least_squares."),
    ] = "minmax",
    percentile: Annotated[
        float, typer.Option(help="For percentile: percent of numbers kept.")
    ] = 99.99,
    size: options.Size = None,
) -> None:
    """Measure ranges of activations, for convert --ranges."""
    from fritz_compress.cli import console
    from fritz_compress.cli.networks import (
        load_network,
        open_size,
        read_samples,
    )
    from fritz_compress.files import check_suffix, whole_file
    from fritz_compress.quantization import calibrate

    check_suffix(output, (".json",))
    model = load_network(network)
    image_size = console.parse_size(size) or open_size(model)
    arrays = read_samples(data, model, image_size)
    with console.working("measuring ranges"):
        ranges = calibrate(model, arrays, samples, method, percentile)
    with whole_file(output) as unfinished:
        unfinished.write_text(ranges.to_json())
    rows = [
        (name, f"{low:.5g}", f"{high:.5g}")
        for name, (low, high) in ranges.ends.items()
    ]
    console.table(str(output), ("range", "lowest", "highest"), rows)
