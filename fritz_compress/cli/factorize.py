import dataclasses
import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "factorize"


def command(
    network: options.Network,
    output: options.KerasFile,
    method: Annotated[
        str | None,
        typer.Option(
            help="svd or toeplitz for dense layers; channel, spatial, tucker, "
            "cp or separable for convolutions. Others: svd and channel."
        ),
    ] = None,
    energy: Annotated[
        float | None,
        typer.Option(help="Fraction of the squared kernel that ranks keep."),
    ] = None,
    rank: Annotated[
        int | None, typer.Option(help="One rank for all layers.")
    ] = None,
    vbmf: Annotated[
        bool,
        typer.Option("--vbmf", help="Ranks by variational Bayes; the default."),
    ] = False,
    macs: Annotated[
        float | None,
        typer.Option(help="Fraction of all multiply-accumulates to keep."),
    ] = None,
    parameters: Annotated[
        float | None, typer.Option(help="Fraction of all parameters to keep.")
    ] = None,
    config: Annotated[
        pathlib.Path | None,
        typer.Option(help="A .json of what factorize takes."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="NAME=RANK, or NAME=none to leave a layer."),
    ] = None,
    samples: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="To correct factors on: an .npz with an array x, or photos."
        ),
    ] = None,
    positions: Annotated[
        int, typer.Option(min=1, help="Outputs looked at per sample.")
    ] = 32,
    size: options.Size = None,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
) -> None:
    """Split kernels into products of smaller ones, where that is smaller."""
    from fritz_compress.cli import console, fitting, layer_configs
    from fritz_compress.cli.networks import (
        load_network,
        open_size,
        read_samples,
    )
    from fritz_compress.files import whole_file
    from fritz_compress.surgery import FactorizationConfig, factorize

    fitting.check_output(output)
    _check_one_way(
        energy=energy,
        rank=rank,
        vbmf=vbmf or None,
        macs=macs,
        parameters=parameters,
    )
    configs = layer_configs.read_config(
        config,
        FactorizationConfig,
        '{"method": "spatial", "energy": 0.9}',
        energy=energy,
        rank="vbmf" if vbmf else rank,
        method=method,
    )
    model = load_network(network, compiled=True)
    if config is None and method is not None:
        configs = _for_its_kinds(configs, method, model)
    configs = layer_configs.with_layers(
        configs,
        layer or (),
        model,
        "RANK",
        lambda base, number: dataclasses.replace(
            base or FactorizationConfig(), rank=number, energy=None
        ),
    )
    image_size = console.parse_size(size) or open_size(model)
    with console.working("factorizing"):
        smaller, report = factorize(
            model,
            configs,
            macs=macs,
            parameters=parameters,
            samples=read_samples(samples, model, image_size),
            positions=positions,
            input_size=image_size,
            seed=seed,
        )
    with whole_file(output) as unfinished:
        smaller.save(unfinished)
    console.console.print(f"{report}\n", highlight=False, soft_wrap=True)
    console.console.print(f"{output} written", highlight=False, soft_wrap=True)


def _check_one_way(**ways):
    """Ranks are chosen in one way; layers of their own have --layer."""
    typed = [f"--{name}" for name, value in ways.items() if value is not None]
    if len(typed) > 1:
        raise ValueError(
            "Ranks are chosen by one of --energy, --rank, --vbmf, --macs and "
            f"--parameters. Received: {' and '.join(typed)}. Ranks of single "
            "layers are --layer NAME=RANK; the rest is for --config."
        )


def _for_its_kinds(configs, method, model):
    """The method for the layers that it is for, the default for the others."""
    from fritz_compress.surgery.factorization.methods import METHODS
    from fritz_compress.surgery.names import every_layer

    kinds = [kind.__name__ for kind in METHODS[method].kinds]
    present = {type(layer).__name__ for _, _, layer in every_layer(model)}
    if not present.intersection(kinds):
        raise ValueError(
            f"--method {method} is for layers of class {' and '.join(kinds)}. "
            f"Received: model '{model.name}' without any."
        )
    own = configs.global_config
    return dataclasses.replace(
        configs,
        global_config=dataclasses.replace(own, method=None),
        layer_type_configs={kind: own for kind in kinds if kind in present},
    )
