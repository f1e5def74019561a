"""Does a converted file compute what the Keras model computes?"""

import numpy as np

from fritz_compress.convert.errors import ConversionError
from fritz_compress.ops import fidelity


def check_agreement(
    reference: np.ndarray,
    candidate: np.ndarray,
    label: str,
    min_psnr: float,
) -> tuple[float, float]:
    """Compares the output of a file with that of Keras.

    Args:
        reference: What Keras computes.
        candidate: What the file computes, in the same shape.
        label: What was written, such as `"TFLite int8"`, for the error.
        min_psnr: Lowest agreement that is handed over, in decibels.

    Returns: PSNR in decibels and the largest absolute difference.

    Raises:
        ConversionError: if the candidate has another shape, is not finite, or
            its PSNR is below `min_psnr`.
    """
    reference, candidate = np.asarray(reference), np.asarray(candidate)
    if reference.shape != candidate.shape:
        raise ConversionError(
            f"{label}: the file returns shape {candidate.shape}, Keras "
            f"returns {reference.shape}."
        )
    wrong = int(np.count_nonzero(~np.isfinite(candidate)))
    if wrong:
        raise ConversionError(
            f"{label}: {wrong:,} of {candidate.size:,} output values of the "
            "file are not finite. Try another quantization, and check that "
            "the Keras model itself returns finite values."
        )
    psnr = fidelity.psnr(reference, candidate, peak_of(reference))
    difference = fidelity.max_difference(reference, candidate)
    if not psnr >= min_psnr:
        raise ConversionError(
            f"{label}: the file must agree with Keras to at least "
            f"{min_psnr:g} dB. Received: {psnr:.1f} dB, largest difference "
            f"{difference:.3g}. Use more bits or another quantization, or "
            "lower `min_psnr` if the output is good enough for you."
        )
    return psnr, difference


def peak_of(reference: np.ndarray) -> float:
    """The signal's range, on which a PSNR is based.

    255 for pictures: three channels, values within `[0, 255]` that leave
    `[0, 1]`. For anything else the largest minus the smallest value, and 1
    for a constant.
    """
    if are_pictures(reference):
        return 255.0
    return float(np.max(reference)) - float(np.min(reference)) or 1.0


def are_pictures(values: np.ndarray) -> bool:
    """Whether they are a batch of pictures, as `peak_of` has it."""
    if np.ndim(values) != 4 or np.shape(values)[-1] != 3:
        return False
    return bool(-0.5 <= np.min(values) and 1 < np.max(values) <= 255.5)
