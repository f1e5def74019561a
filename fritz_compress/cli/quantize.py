import dataclasses
import pathlib
from typing import Annotated

import typer

from fritz_compress.cli import options

NAME = "quantize"


def command(
    network: options.Network,
    output: options.KerasFile,
    nbits: Annotated[
        list[int] | None,
        typer.Option(
            help="Bits of a weight, default 8; with --max-loss one of those "
            "to choose from, default 2, 3, 4, 6 and 8."
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="linear, linear_symmetric, kmeans or product."),
    ] = None,
    granularity: Annotated[
        str | None,
        typer.Option(
            help="per_tensor, per_channel, per_grouped_channel or per_block."
        ),
    ] = None,
    config: Annotated[
        pathlib.Path | None,
        typer.Option(help="A .json of what quantize_weights takes."),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="NAME=BITS, or NAME=none to leave a layer."),
    ] = None,
    data: Annotated[
        pathlib.Path | None,
        typer.Option(help="With --max-loss: an .npz with arrays x and y."),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(
            min=0, help="Bits for each layer, for this loss of the metric."
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="With --max-loss: a loss of Keras; default: the file's."
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="With --max-loss: the metric that counts; default: the file's."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(help="Processes; -1 for one per core.")
    ] = 1,
    resume: Annotated[
        pathlib.Path | None,
        typer.Option(help="With --max-loss: file to go on from after a kill."),
    ] = None,
    table: Annotated[
        bool, typer.Option(help="Print what each number of bits costs.")
    ] = False,
) -> None:
    """Give weights few values, for files that store them in a few bits."""
    from fritz_compress.cli import fitting, layer_configs
    from fritz_compress.cli.console import console
    from fritz_compress.files import whole_file
    from fritz_compress.quantization import WeightConfig, quantize_weights

    fitting.check_output(output)
    _check_options(max_loss, nbits, layer, data, loss or metric or resume)
    single = nbits[0] if nbits and max_loss is None else None
    configs = layer_configs.read_config(
        config,
        WeightConfig,
        '{"nbits": 4, "mode": "kmeans"}',
        nbits=single,
        mode=mode,
        granularity=granularity,
    )
    model, arrays = _read(network, data, loss, metric)
    configs = layer_configs.with_layers(
        configs,
        layer or (),
        model,
        "BITS",
        lambda base, nbits: dataclasses.replace(
            base or WeightConfig(), nbits=nbits
        ),
    )
    texts = _noise(model, configs, nbits) if table else []
    if max_loss is not None:
        how = {"metric": metric, "n_jobs": jobs, "resume_file": resume}
        how |= {"nbits": nbits} if nbits else {}
        suggestion = _suggestion(model, arrays, max_loss, configs, how)
        configs = suggestion.config
        texts.append(suggestion)
    smaller, report = quantize_weights(model, configs)
    with whole_file(output) as unfinished:
        smaller.save(unfinished)
    for text in (*texts, report):
        console.print(f"{text}\n", highlight=False, soft_wrap=True)
    console.print(f"{output} written", highlight=False, soft_wrap=True)


def _check_options(max_loss, nbits, layer, data, others):
    """What is only for the other way must not be ignored silently."""
    if max_loss is None and (data or others):
        raise ValueError(
            "--data, --loss, --metric and --resume are for bits that fit an "
            "allowed loss. Name it, such as --max-loss 0.01."
        )
    if max_loss is None and nbits and len(nbits) > 1:
        raise ValueError(
            "One --nbits is for all layers. Several are to choose from for "
            "--max-loss; others for some layers are --layer NAME=BITS."
        )
    if max_loss is not None and data is None:
        raise ValueError(
            "--max-loss needs samples to measure the loss with: --data, an "
            ".npz with arrays x and y."
        )
    fixed = [entry for entry in layer or () if not entry.endswith("=none")]
    if max_loss is not None and fixed:
        raise ValueError(
            "--max-loss chooses the bits of each layer; with it --layer is "
            f"NAME=none, to leave a layer as it is. Received: '{fixed[0]}'."
        )


def _read(network, data, loss, metric):
    """The network, and the samples if there are any."""
    from fritz_compress.cli.console import read_arrays
    from fritz_compress.cli.networks import load_compiled, load_network

    if data is None:
        return load_network(network, compiled=True), None
    arrays = read_arrays(data, ("x", "y"))
    return load_compiled(network, loss, metric), arrays


def _noise(model, configs, nbits):
    from fritz_compress.analysis import signal_to_noise

    several = {"nbits": nbits} if nbits and len(nbits) > 1 else {}
    return [signal_to_noise(model, config=configs, **several)]


def _suggestion(model, arrays, max_loss, configs, how):
    from fritz_compress.analysis import suggest_bits
    from fritz_compress.cli.console import progress_bar

    with progress_bar() as progress:
        task = progress.add_task("evaluating", total=None, detail="")
        found = suggest_bits(
            model,
            *arrays,
            max_loss=max_loss,
            config=configs,
            on_point=lambda done, total, _: progress.update(
                task, completed=done, total=total
            ),
            **how,
        )
        done = found.evaluations
        progress.update(task, completed=done, total=done)
    return found
