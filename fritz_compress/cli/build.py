from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "build"


def command(
    name: Annotated[
        str, typer.Argument(help="A class of models, such as MobileNetV2.")
    ],
    output: options.KerasFile,
    alpha: Annotated[
        float | None, typer.Option(help="Width multiplier; default 1.0.")
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(help="HEIGHTxWIDTH, or any; default: the network's."),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(help="Width of the last layer.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="Of a picture; default: the network's.")
    ] = None,
    rho: Annotated[
        float | None, typer.Option(help="Resolution multiplier.")
    ] = None,
    groups: Annotated[
        int | None, typer.Option(help="Of 1x1 convolutions.")
    ] = None,
    shuffle: Annotated[
        bool | None, typer.Option(help="Channels between groups.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Of SqueezeNet: 1.0 or 1.1.")
    ] = None,
    bypass: Annotated[
        str | None, typer.Option(help="none, simple or complex.")
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="Layers with weights, 6n + 2.")
    ] = None,
    shortcut: Annotated[
        str | None, typer.Option(help="A (no weights) or B.")
    ] = None,
    num_bits: Annotated[
        int | None,
        typer.Option(help="Of activations of a binary network; 0 for floats."),
    ] = None,
    kernel_quantizer: Annotated[
        str | None,
        typer.Option(help="Of a binary network, such as ste_sign; or none."),
    ] = None,
    input_scale: Annotated[
        bool | None, typer.Option(help="Of sums of signs, as in XNOR-Net.")
    ] = None,
    bi_real: Annotated[
        bool | None, typer.Option(help="A shortcut around each convolution.")
    ] = None,
    normalization: Annotated[
        str | None, typer.Option(help="Of style networks: instance or batch.")
    ] = None,
    include_top: Annotated[
        bool | None,
        typer.Option("--top/--no-top", help="With the head that classifies."),
    ] = None,
    logits: Annotated[
        bool, typer.Option("--logits", help="No softmax at the end.")
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(help="A file to start from; default: random weights."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random weights.")] = 0,
) -> None:
    """Build a network by name, with its weights random or from a file."""
    import keras

    from fritz_compress.analysis import profile
    from fritz_compress.cli import console
    from fritz_compress.cli.builders import build_by_name
    from fritz_compress.cli.fitting import check_output
    from fritz_compress.cli.networks import open_size
    from fritz_compress.files import whole_file

    check_output(output)
    arguments = {
        "alpha": alpha,
        "classes": classes,
        "channels": channels,
        "rho": rho,
        "groups": groups,
        "shuffle": shuffle,
        "version": version,
        "bypass": bypass,
        "depth": depth,
        "shortcut": shortcut,
        "num_bits": num_bits,
        "kernel_quantizer": kernel_quantizer,
        "input_scale": input_scale,
        "bi_real": bi_real,
        "normalization": normalization,
        "include_top": include_top,
        "checkpoint_file": weights,
    }
    arguments = {k: v for k, v in arguments.items() if v is not None}
    for option, floats in (("num_bits", 0), ("kernel_quantizer", "none")):
        if arguments.get(option) == floats:
            arguments[option] = None
    if image_size is not None:
        any_size = image_size.strip().lower() == "any"
        arguments["image_size"] = (
            None if any_size else console.parse_size(image_size)
        )
    if logits:
        arguments["classifier_activation"] = None
    keras.utils.set_random_seed(seed)
    model = build_by_name(name, arguments)
    with whole_file(output) as unfinished:
        model.save(unfinished)
    size = open_size(model) or model.input_shape[1:3]
    found = profile(model, size)
    binary = f", {found.binary_macs:,} binary" if found.binary_macs else ""
    console.console.print(
        f"{output}: {model.name}, {model.count_params():,} parameters, "
        f"{found.macs:,} multiply-accumulates{binary} at {size[0]}x{size[1]}",
        highlight=False,
        soft_wrap=True,
    )
