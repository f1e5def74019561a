"""How close two pictures, or two outputs of a network, are."""

import numpy as np


def max_difference(reference: np.ndarray, candidate: np.ndarray) -> float:
    """Largest absolute difference, in the units of the arrays."""
    return float(np.max(np.abs(_difference(reference, candidate))))


def psnr(
    reference: np.ndarray, candidate: np.ndarray, peak: float = 255.0
) -> float:
    """Peak signal-to-noise ratio in decibels; infinite for equal arrays.

    `10 log10(peak^2 / mean((reference - candidate)^2))` over all elements.
    Not finite elements give `nan`.

    Args:
        reference: Array of any shape.
        candidate: Array of the same shape.
        peak: Range of the values: 255 for 8-bit pictures.
    """
    error = float(np.mean(np.square(_difference(reference, candidate))))
    if error == 0:
        return float("inf")
    return float(10 * np.log10(peak**2 / error))


def ssim(reference: np.ndarray, candidate: np.ndarray) -> float:
    """Mean structural similarity of two RGB pictures, 1 for equal ones.

    With the Gaussian window of 1.5 pixels of Wang et al., "Image Quality
    Assessment: From Error Visibility to Structural Similarity", 2004,
    computed by scikit-image.

    Args:
        reference: Shape `(height, width, 3)`, values in `[0, 255]`.
        candidate: The same shape and range.
    """
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            np.asarray(reference, "float64"),
            np.asarray(candidate, "float64"),
            data_range=255.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def variation(picture: np.ndarray) -> float:
    """Amount of texture: mean `|dx|` plus mean `|dy|`, in grey levels.

    Args:
        picture: Shape `(..., height, width, channels)`.
    """
    picture = np.asarray(picture, "float64")
    return float(
        np.mean(np.abs(np.diff(picture, axis=-2)))
        + np.mean(np.abs(np.diff(picture, axis=-3)))
    )


def grid_strength(pictures: np.ndarray, block: int = 4) -> float:
    """Strength of a pattern that repeats every `block` pixels, in grey levels.

    The standard deviation of the mean pixel at each of the `block**2` places
    of a block, averaged over the channels; the means are over all blocks of
    all pictures. Photos have almost none.

    Args:
        pictures: Shape `(..., height, width, channels)`.
        block: Period in pixels. Defaults to 4.
    """
    *_, height, width, channels = np.shape(pictures)
    rows, columns = height // block, width // block
    whole = np.asarray(pictures, "float64")[
        ..., : rows * block, : columns * block, :
    ]
    blocks = whole.reshape(-1, rows, block, columns, block, channels)
    means = blocks.mean((0, 1, 3))
    return float(means.std((0, 1)).mean())


def fit_color_map(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The best per-pixel linear map from colors to colors.

    The baseline that a style network has to beat: it knows nothing but the
    color of the pixel itself.

    Args:
        sources: RGB values of shape `(..., 3)`.
        targets: RGB values of the same shape.

    Returns: matrix of shape `(4, 3)`; `apply_color_map` applies it.
    """
    matrix, *_ = np.linalg.lstsq(
        _with_ones(sources), np.reshape(targets, (-1, 3)), rcond=None
    )
    return matrix


def apply_color_map(pictures: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Maps every color of `pictures`, clipped to `[0, 255]`."""
    mapped = (_with_ones(pictures) @ matrix).reshape(pictures.shape)
    return np.clip(mapped, 0, 255)


def _with_ones(colors):
    colors = np.reshape(np.asarray(colors, "float64"), (-1, 3))
    return np.concatenate([colors, np.ones((len(colors), 1))], axis=1)


def _difference(reference, candidate):
    reference = np.asarray(reference, "float64")
    candidate = np.asarray(candidate, "float64")
    if reference.shape != candidate.shape:
        raise ValueError(
            "Only arrays of one shape can be compared. Received: shapes "
            f"{reference.shape} and {candidate.shape}."
        )
    return reference - candidate
