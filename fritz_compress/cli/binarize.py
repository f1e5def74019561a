import dataclasses
import pathlib
import warnings
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "binarize"


def command(
    network: options.Network,
    output: options.KerasFile,
    kernel_quantizer: Annotated[
        str | None,
        typer.Option(
            help="Such as ste_sign or stochastic_sign; default: "
            "magnitude_aware_sign."
        ),
    ] = None,
    input_bits: Annotated[
        int | None,
        typer.Option(
            min=1, max=8, help="Of what layers read: 1 for signs; else floats."
        ),
    ] = None,
    input_scale: Annotated[
        bool,
        typer.Option(
            "--input-scale", help="Scale sums of signs, as XNOR-Net does."
        ),
    ] = False,
    config: Annotated[
        pathlib.Path | None,
        typer.Option(help="A .json of what binarize takes."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="NAME=BITS of a kernel, or NAME=none to leave it."),
    ] = None,
    deploy: Annotated[
        bool,
        typer.Option(
            "--deploy",
            help="After training: leave 1 and -1 of the kernels for good.",
        ),
    ] = False,
) -> None:
    """Give inner layers kernels of one bit; train, then --deploy and pack."""
    from fritz_compress import quantizers
    from fritz_compress.binarization import BinarizationConfig, binarize
    from fritz_compress.cli import console, fitting, layer_configs
    from fritz_compress.cli.networks import load_network
    from fritz_compress.files import whole_file

    fitting.check_output(output)
    if deploy:
        _check_alone(
            kernel_quantizer=kernel_quantizer,
            input_bits=input_bits,
            input_scale=input_scale or None,
            config=config,
            layer=layer or None,
        )
        _deploy(network, output)
        return
    configs = layer_configs.read_config(
        config,
        BinarizationConfig,
        '{"input_quantizer": "ste_sign"}',
        kernel_quantizer=kernel_quantizer,
        input_quantizer=_of_inputs(input_bits),
        input_scale=input_scale or None,
    )
    model = load_network(network, compiled=True)
    configs = layer_configs.with_layers(
        configs,
        layer or (),
        model,
        "BITS",
        lambda base, bits: dataclasses.replace(
            base or BinarizationConfig(),
            kernel_quantizer=(
                quantizers.DoReFa(bits, "weights")
                if bits > 1
                else "magnitude_aware_sign"
            ),
        ),
    )
    with console.working("binarizing"), warnings.catch_warnings(
        record=True
    ) as caught:
        warnings.simplefilter("always", UserWarning)
        binary, report = binarize(model, configs)
    with whole_file(output) as unfinished:
        binary.save(unfinished)
    notes = [str(w.message) for w in caught if w.category is UserWarning]
    lines = [f"{report}\n", *(f"note: {text}" for text in notes)]
    for line in [*lines, f"{output} written: train it, then --deploy"]:
        console.console.print(line, highlight=False, soft_wrap=True)


def _of_inputs(bits):
    """The quantizer of inputs of so many bits."""
    from fritz_compress import quantizers

    if bits is None:
        return None
    return "ste_sign" if bits == 1 else quantizers.DoReFa(bits)


def _deploy(network, output):
    """Writes what `convert_to_binary` makes, and what it takes."""
    from fritz_compress.analysis import profile
    from fritz_compress.binarization import convert_to_binary
    from fritz_compress.cli import console
    from fritz_compress.cli.networks import load_network, open_size
    from fritz_compress.files import whole_file

    model = load_network(network, compiled=True)
    with console.working("deploying"):
        binary = convert_to_binary(model)
    with whole_file(output) as unfinished:
        binary.save(unfinished)
    found = profile(binary, open_size(binary))
    console.console.print(
        f"{output}: {found.binary_parameters:,} of {found.parameters:,} "
        f"numbers are one bit, {found.bytes:,} -> {found.deployed_bytes:,} "
        f"bytes of weights; pack it to store them so",
        highlight=False,
        soft_wrap=True,
    )


def _check_alone(**others):
    typed = [name for name, value in others.items() if value is not None]
    if typed:
        listed = " and ".join(f"--{name.replace('_', '-')}" for name in typed)
        raise ValueError(
            "--deploy leaves the signs of a network that is binary already. "
            f"Received: {listed} beside it. Leave one out."
        )
