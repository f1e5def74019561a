"""Codes of a `.mlpackage`: those that the weights of the model hold."""

import keras
import mil_blobs
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers

from fritz_compress.convert import mil_interpreter
from fritz_compress.convert.mil_constants import constant
from fritz_compress.convert.ml_program import write_program
from fritz_compress.ops.codes import LinearCodes, ProductCodes
from fritz_compress.quantization import quantize_weights

# Numbers of each kernel, and from Keras' axes to MIL's.
KERNELS = {
    720: ("conv", (3, 2, 0, 1)),
    2880: ("transpose", (3, 2, 0, 1)),
    384: ("dense", (1, 0)),
}
CODES = ("quantized_data", "data", "indices", "indices_nonzero_data")


@pytest.fixture(scope="module")
def small():
    inputs = keras.Input((7, 10, 4))
    x = layers.Conv2D(20, 3, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="batch")(x)
    x = layers.PReLU(shared_axes=[1, 2], name="prelu")(x)
    x = layers.Conv2DTranspose(16, 3, 2, name="transpose")(x)
    x = layers.Dense(24, name="dense")(layers.GlobalAveragePooling2D()(x))
    return distinct_weights(keras.Model(inputs, x))


@pytest.fixture(scope="module")
def pruned(small):
    model = keras.models.clone_model(small)
    rng = np.random.default_rng(0)
    model.set_weights(
        [
            weight * (rng.random(weight.shape) > 0.8 or weight.ndim == 1)
            if weight.ndim == 1
            else weight * (rng.random(weight.shape) > 0.8)
            for weight in small.get_weights()
        ]
    )
    return model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.mlpackage"


def agreement(model, path):
    """The largest difference to Keras, as part of the range."""
    inputs = np.random.default_rng(0).normal(size=(2, 7, 10, 4))
    expected = np.asarray(model(inputs.astype("float32")))
    received = mil_interpreter.load(path)(inputs)
    return np.abs(received - expected).max() / np.ptp(expected)


def stored_kernels(path):
    """Codes, kind and arguments of each kernel of the file, by layer."""
    found, sparse = {}, None
    for kind, arguments in mil_blobs.constant_operations(path):
        if kind == "constexpr_sparse_to_dense" and not arguments:
            continue  # Puts in place what the one before made.
        codes = next(arguments[name] for name in CODES if name in arguments)
        if "indices_mask" in arguments or "data_mask" in arguments:
            sparse = arguments.get("indices_mask", arguments.get("data_mask"))
            shape = sparse.shape
        elif "shape" in arguments:
            shape = tuple(arguments["shape"].tolist())
            nbits = len(arguments["lut"]).bit_length() - 1
            bits = np.unpackbits(codes, bitorder="little")
            bits = bits[: np.prod(shape) * nbits].reshape(-1, nbits)
            codes = (bits << np.arange(nbits)).sum(axis=1).reshape(shape)
        else:
            shape = codes.shape
        length = arguments["lut"].shape[-1] if codes.ndim > 1 and (
            "vector_axis" in arguments
        ) else 1
        name, _ = KERNELS[int(np.prod(shape)) * length]
        found[name] = (kind, codes, arguments)
    return found


def check_codes(found, made, order):
    """Codes of the file are codes that `quantize_weights` made."""
    kind, codes, arguments = found
    expected = made.codes.transpose(order).astype(int)
    if isinstance(made, LinearCodes) and "lut" not in arguments:
        # Stored codes may be shifted; their distance from zero is not.
        zero = arguments.get("zero_point", arguments.get("offset", 0))
        zero = np.reshape(zero, -1)
        points = -made.offset.astype(float) / made.scale
        np.testing.assert_allclose(
            codes - np.broadcast_to(zero[0], codes.shape)
            if len(zero) == 1
            else codes - zero.reshape(points.transpose(order).shape),
            expected - points.transpose(order),
            atol=1e-4,
        )
    else:
        np.testing.assert_array_equal(codes, expected)


HELD = {
    "symmetric": ({"nbits": 8}, 7),
    "int4": ({"nbits": 4, "mode": "linear"}, 9),
    "tensor": ({"nbits": 6, "granularity": "per_tensor"}, 7),
    "blocks": (
        {"nbits": 4, "granularity": "per_block", "block_size": 4},
        9,
    ),
    "kmeans": ({"nbits": 4, "mode": "kmeans"}, 7),
    "3 bits": ({"nbits": 3, "mode": "kmeans"}, 9),
    "groups": (
        {
            "nbits": 2,
            "mode": "kmeans",
            "granularity": "per_grouped_channel",
            "group_size": 4,
        },
        9,
    ),
    "product": ({"nbits": 4, "mode": "product", "vector_size": 4}, 9),
}
FAST = ("symmetric", "3 bits")


@pytest.mark.parametrize(
    "held",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in HELD
    ],
)
def test_codes_in_the_file_are_those_of_the_weights(small, held, path):
    config, version = HELD[held]
    model, report = quantize_weights(small, config)
    rows = write_program(model, path)
    assert mil_blobs.specification_version(path) == version
    assert agreement(model, path) < 1e-5
    assert all(row.note == "" for row in rows)
    made = {row.name: row.codes for row in report.weights if row.codes}
    found = stored_kernels(path)
    assert set(found) == {"conv", "transpose", "dense"}
    for name, order in KERNELS.values():
        check_codes(found[name], made[f"{name}/kernel"], order)
    check_values(model, path, exact=held != "tensor")


def check_values(model, path, exact):
    """Decoded kernels are Keras', and what coremltools decodes."""
    function = mil_interpreter.load(path)._function
    checked = 0
    for operation in function.operations:
        if operation.op_type in ("conv", "conv_transpose", "linear"):
            weight = operation.weight
            name, order = KERNELS[int(np.prod(weight.shape))]
            expected = model.get_layer(name).kernel.numpy().transpose(order)
            received = constant(weight)
            np.testing.assert_array_equal(received, expected)
            theirs = weight.op.materialized_val_inference()
            np.testing.assert_array_equal(received, theirs)
            checked += 1
    assert checked == 3
