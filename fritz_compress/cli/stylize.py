import pathlib
from typing import Annotated

import typer

NAME = "stylize"


def command(
    network: Annotated[
        str,
        typer.Argument(
            help="A .keras, .tflite, .mlmodel or .mlpackage, or a name of ours."
        ),
    ],
    pictures: Annotated[
        pathlib.Path, typer.Argument(help="A picture or a folder of them.")
    ],
    output: Annotated[
        pathlib.Path,
        typer.Argument(help="A picture file, or a folder for a folder."),
    ],
    compare: Annotated[
        bool,
        typer.Option("--side-by-side", help="Picture and result in one."),
    ] = False,
) -> None:
    """Stylize one picture, or all in a folder, of any size."""
    import numpy as np
    from PIL import Image

    from fritz_compress.cli import console
    from fritz_compress.cli.networks import load_runner
    from fritz_compress.convert.pictures import side_by_side, stylize
    from fritz_compress.files import whole_file
    from fritz_compress.training import read_photo

    files = console.picture_files(pictures)
    targets = _targets(files, pictures, output)
    run, image_size = load_runner(network)
    for file in console.tracked("stylizing", files):
        photo = np.asarray(read_photo(file))
        result = stylize(run, photo, image_size)
        if compare:
            result = side_by_side([photo, result])
        with whole_file(targets[file]) as unfinished:
            Image.fromarray(result).save(unfinished)
    console.console.print(f"{len(files)} written to {output}")


def _targets(files, pictures, output):
    """Where each result goes; checked before the first is made."""
    if pictures.is_file():
        if output.is_dir():
            return {pictures: output / f"{pictures.stem}.png"}
        if output.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            raise ValueError(
                "The output of one picture is a .png, .jpg or .webp file, or "
                f"a folder. Received: '{output}'."
            )
        if not output.parent.is_dir():
            raise ValueError(f"No folder '{output.parent}' for '{output}'.")
        return {pictures: output}
    if output.is_file():
        raise ValueError(
            f"'{pictures}' is a folder, so the output must be one. Received: "
            f"the file '{output}'."
        )
    output.mkdir(parents=True, exist_ok=True)
    stems = [file.stem for file in files]
    return {
        # a.jpg and a.png of one folder must not become one a.png.
        file: output
        / f"{file.stem if stems.count(file.stem) == 1 else file.name}.png"
        for file in files
    }
