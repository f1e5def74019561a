"""Style networks of 2018, published as `.tflite`, back into Keras."""

import os
import re

import keras
import numpy as np

from fritz_compress.models import StyleTransferNetwork
from fritz_compress.silence import silenced

# Names that the Keras of 2018 gave; the number counts layers as built.
_KERNEL = re.compile(r"conv2d_(\d+)/kernel")
_GAMMA = re.compile(r"instance_normalization_(\d+)/Reshape")
_BETA = re.compile(r"instance_normalization_(\d+)/Reshape_1")


def load_style_transfer_2018(path: str | os.PathLike) -> keras.Model:
    """Reads the weights of a published float `.tflite` into Keras.

    Understands the large architecture alone. Those files divide by
    `sqrt(variance) + 0.001`; our instance normalization has its epsilon inside
    the root, which changes a picture by less than 0.1 of 255.

    Args:
        path: `.tflite` file of a style transfer network of 2018.

    Returns: a `StyleTransferNetwork` model that takes any size.

    Raises:
        ValueError: if the file is not such a network.
    """
    tensors = _constants(path)
    kernels = _numbered(tensors, _KERNEL)
    if not kernels:
        raise ValueError(
            f"'{path}' is not a style transfer network of 2018: it has no "
            "float tensor named 'conv2d_1/kernel'."
        )
    alpha = kernels[0].shape[0] / StyleTransferNetwork.filters[0]
    model = StyleTransferNetwork.build(None, alpha)
    weights = [
        array
        for kernel, gamma, beta in zip(
            kernels, _numbered(tensors, _GAMMA), _numbered(tensors, _BETA)
        )
        for array in (kernel.transpose(1, 2, 3, 0), gamma.ravel(), beta.ravel())
    ]
    expected = [tuple(weight.shape) for weight in model.weights]
    received = [array.shape for array in weights]
    if expected != received:
        raise ValueError(
            f"'{path}' does not hold the large network: expected "
            f"{len(expected)} weights of shapes {expected[:3]}..., received "
            f"{len(received)} of shapes {received[:3]}..."
        )
    model.set_weights(weights)
    return model


def _constants(path) -> dict[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    try:
        with silenced():
            interpreter = Interpreter(os.fspath(path), num_threads=1)
            interpreter.allocate_tensors()
    except ValueError as error:
        raise ValueError(f"'{path}' is not a .tflite file: {error}") from error
    wanted = (_KERNEL, _GAMMA, _BETA)
    return {
        detail["name"]: interpreter.get_tensor(detail["index"])
        for detail in interpreter.get_tensor_details()
        if any(pattern.fullmatch(detail["name"]) for pattern in wanted)
    }


def _numbered(tensors, pattern) -> list[np.ndarray]:
    matches = filter(None, map(pattern.fullmatch, tensors))
    ordered = sorted(matches, key=lambda match: int(match[1]))
    return [tensors[match[0]] for match in ordered]
