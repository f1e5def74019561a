"""Arguments and options that several commands take."""

import difflib
import pathlib
from typing import Annotated

import typer

Network = Annotated[
    str, typer.Argument(help="A .keras or .h5 file, or a name of ours.")
]
KerasFile = Annotated[
    pathlib.Path, typer.Argument(help="The .keras file to write.")
]
Size = Annotated[
    str | None,
    typer.Option(help="HEIGHTxWIDTH; default 480x640 for any-size networks."),
]
TrainingPhotos = Annotated[
    pathlib.Path | None,
    typer.Option(help="Folder of photos; default: a few that are installed."),
]
Architecture = Annotated[str, typer.Option(help="large, small or flat.")]
Alpha = Annotated[float, typer.Option(help="Width multiplier.")]
Initial = Annotated[
    pathlib.Path | None,
    typer.Option(help="Weights to start from, in place of random ones."),
]
Steps = Annotated[int, typer.Option(min=1, help="Optimizer steps.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Crops per step.")]
CropSize = Annotated[
    int, typer.Option(min=16, help="Side of a crop in pixels.")
]
LearningRate = Annotated[
    float, typer.Option(help="Peak of warm-up and cosine.")
]
Prune = Annotated[
    float, typer.Option(help="Fraction of filters to zero and remove.")
]
SkipBroken = Annotated[
    bool, typer.Option(help="Leave out files that can not be decoded.")
]
Backup = Annotated[
    pathlib.Path | None,
    typer.Option(help="Folder to resume from after a kill."),
]
Seed = Annotated[int, typer.Option(help="Seed of weights and crops.")]
CRITERIA = ("l1", "l2", "fpgm", "bn_scale", "lamp", "random")
Criterion = Annotated[
    str, typer.Option(help=f"Ranks filters: {', '.join(CRITERIA)}.")
]


def check_criterion(name: str) -> None:
    """Whether a command can rank filters by this.

    Raises:
        ValueError: for another name, with the nearest.
    """
    if name not in CRITERIA:
        meant = difflib.get_close_matches(name, CRITERIA, n=1, cutoff=0.3)
        hint = f" Did you mean {meant[0]}?" if meant else ""
        raise ValueError(
            f"--criterion must be one of {', '.join(CRITERIA)}. Received: "
            f"'{name}'.{hint} Criteria that need data, and your own, are for "
            "`fritz_compress.prune_filters` in Python."
        )
