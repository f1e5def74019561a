import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "convert"


def command(
    network: options.Network,
    output: Annotated[
        pathlib.Path,
        typer.Argument(help="A .tflite, .mlmodel or .mlpackage to write."),
    ],
    quantization: Annotated[
        str | None,
        typer.Option(
            help=".tflite: float16, weights, dynamic, int8 or int16x8."
        ),
    ] = None,
    nbits: Annotated[
        int | None,
        typer.Option(help="Core ML: bits of a weight, 16, 8, 6, 4, 2 or 1."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Core ML: linear or kmeans.")
    ] = None,
    size: options.Size = None,
    photos: Annotated[
        pathlib.Path | None,
        typer.Option(help="Pictures to compare file and network on."),
    ] = None,
    calibration: Annotated[
        pathlib.Path | None,
        typer.Option(help=".tflite int8, int16x8: pictures to take ranges on."),
    ] = None,
    ranges: Annotated[
        pathlib.Path | None,
        typer.Option(help=".tflite int8: what calibrate has written."),
    ] = None,
    custom_layer: Annotated[
        bool,
        typer.Option(
            help=".mlmodel: DeprocessStylizedImage as a custom layer."
        ),
    ] = False,
) -> None:
    """Convert a network, run the file, and compare it with Keras."""
    from fritz_compress.cli import console
    from fritz_compress.cli.networks import load_network, open_size, pictures
    from fritz_compress.convert import to_coreml, to_tflite
    from fritz_compress.files import check_suffix

    suffix = check_suffix(output, (".tflite", ".mlmodel", ".mlpackage")).suffix
    _check_options(
        suffix, quantization, nbits or mode or custom_layer, calibration
    )
    measured = _ranges(ranges, quantization)
    model = load_network(network)
    image_size = console.parse_size(size) or open_size(model)
    samples = pictures(photos, model, image_size)
    representative = pictures(calibration, model, image_size)
    with console.working(f"converting to {output}"):
        if suffix == ".tflite":
            report = to_tflite(
                model,
                output,
                quantization=quantization,
                representative_data=representative,
                image_size=image_size,
                samples=samples,
                ranges=measured,
            )
        else:
            report = to_coreml(
                model,
                output,
                nbits=nbits,
                mode=mode or "linear",
                image_size=image_size,
                samples=samples,
                custom_layers=(
                    ("DeprocessStylizedImage",) if custom_layer else ()
                ),
            )
    console.console.print(str(report), highlight=False, soft_wrap=True)


def _check_options(suffix, quantization, core_ml, calibration):
    """An option of the other format must not be ignored silently."""
    if suffix == ".tflite" and core_ml:
        raise ValueError(
            "--nbits, --mode and --custom-layer are for Core ML files. A "
            ".tflite takes --quantization."
        )
    if suffix != ".tflite" and quantization:
        raise ValueError(
            "--quantization is for .tflite files. A Core ML file takes "
            "--nbits and --mode."
        )
    if calibration and quantization not in ("int8", "int16x8"):
        raise ValueError(
            "--calibration is for --quantization int8 or int16x8, which need "
            f"ranges. Received: --quantization {quantization}."
        )


def _ranges(path, quantization):
    if path is None:
        return None
    from fritz_compress.quantization import Ranges

    if quantization != "int8":
        raise ValueError(
            "--ranges are for --quantization int8. Received: --quantization "
            f"{quantization}."
        )
    return Ranges.from_json(path.read_text())
