"""Pictures of any size through a network of one size."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MULTIPLE = 4  # Style networks halve a picture twice.


def stylize(
    network: Callable[[np.ndarray], np.ndarray],
    picture: np.ndarray,
    image_size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Sends one picture through a network and returns it in its own size.

    A network of any size gets the picture itself, its sides extended to a
    multiple of 4 by reflection and cropped again. A network of one size gets
    a resized copy and its output is resized back, as on a phone: details are
    lost where the sizes differ much.

    Args:
        network: From `(1, height, width, 3)` to the same shape, values in
            `[0, 255]`: a Keras model, or what `convert.load` returns.
        picture: `(height, width, 3)`, RGB in `[0, 255]`.
        image_size: The `(height, width)` that the network takes, or `None`
            (the default) if it takes any.

    Returns: `(height, width, 3)`, uint8.

    Raises:
        ValueError: if the picture is not RGB.
    """
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(
            "Expected an RGB picture of shape (height, width, 3). Received: "
            f"shape {picture.shape}."
        )
    height, width, _ = picture.shape
    if image_size is None:
        padding = [(0, -side % MULTIPLE) for side in (height, width)]
        padded = np.pad(picture, [*padding, (0, 0)], mode="symmetric")
        return _run(network, padded)[:height, :width]
    result = _run(network, _resized(picture, image_size))
    return _resized(result, (height, width))


def side_by_side(pictures: list[np.ndarray], gap: int = 8) -> np.ndarray:
    """Pictures of one height in a row, a white gap between, as uint8.

    Args:
        pictures: Arrays of shape `(height, width, 3)`.
        gap: White pixels between two pictures. Defaults to 8.
    """
    white = np.full((pictures[0].shape[0], gap, 3), 255, "uint8")
    row = [white] * (2 * len(pictures) - 1)
    row[::2] = [to_pixels(picture) for picture in pictures]
    return np.concatenate(row, axis=1)


def to_pixels(picture: np.ndarray) -> np.ndarray:
    """Rounds and clips to uint8."""
    return np.clip(np.round(np.asarray(picture)), 0, 255).astype("uint8")


def _run(network, picture):
    return to_pixels(network(picture[None].astype("float32"))[0])


def _resized(picture, size):
    if picture.shape[:2] == tuple(size):
        return picture
    image = Image.fromarray(to_pixels(picture))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC))


def picture_grid(columns: dict[str, list[np.ndarray]]) -> np.ndarray:
    """Pictures of one size in columns, each with its name above.

    Args:
        columns: Lists of equally many pictures of shape `(height, width, 3)`.

    Returns: `(height, width, 3)`, uint8, white where there is no picture.
    """
    stacked = [_titled(title, column) for title, column in columns.items()]
    return side_by_side(stacked)


def _titled(title, pictures, gap=8, title_height=32):
    height, width, _ = pictures[0].shape
    total = title_height + len(pictures) * (height + gap)
    canvas = Image.new("RGB", (width, total), "white")
    ImageDraw.Draw(canvas).text(
        (width // 2, title_height // 2),
        title,
        fill="black",
        anchor="mm",
        font=ImageFont.load_default(size=16),
    )
    for row, picture in enumerate(pictures):
        top = title_height + row * (height + gap)
        canvas.paste(Image.fromarray(to_pixels(picture)), (0, top))
    return np.asarray(canvas)
