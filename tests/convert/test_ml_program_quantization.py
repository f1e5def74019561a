"""Codes of a `.mlpackage`: those that the weights of the model hold."""

import keras
import mil_blobs
import numpy as np
import pytest
from helpers import distinct_weights, slow_but
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
CODES = "quantized_data data indices indices_nonzero_data nonzero_data".split()


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
    weights = [
        weight * (rng.random(weight.shape) > 0.8) if weight.ndim > 1 else weight
        for weight in small.get_weights()
    ]
    model.set_weights(weights)
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
        length = (
            arguments["lut"].shape[-1]
            if codes.ndim > 1 and ("vector_axis" in arguments)
            else 1
        )
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
        if np.ndim(zero) == 1:
            axis = int(arguments["axis"])
            zero = zero.reshape(
                [-1 if i == axis else 1 for i in range(codes.ndim)]
            )
        points = -made.offset.astype(float) / made.scale
        received = codes - per_number(zero, codes.shape)
        expected = expected - per_number(points.transpose(order), codes.shape)
        np.testing.assert_allclose(received, expected, atol=1e-4)
    elif isinstance(made, ProductCodes):
        # The vectors of a table are in no order: one to one is the same.
        pairs = set(zip(codes.ravel().tolist(), expected.ravel().tolist()))
        assert len(pairs) == len(np.unique(codes)) == len(np.unique(expected))
    else:
        np.testing.assert_array_equal(codes, expected)


def per_number(values, shape):
    for axis, side in enumerate(shape if np.ndim(values) else ()):
        values = np.repeat(values, side // values.shape[axis], axis)
    return values


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
    "product": ({"nbits": 4, "mode": "product", "dimension": 4}, 9),
}


@pytest.mark.parametrize("held", slow_but(HELD, "3 bits"))
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
    check_values(model, path)


def check_values(model, path):
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


@pytest.mark.slow
@pytest.mark.parametrize("held", ["symmetric", "kmeans"])
def test_codes_are_kept_in_half_precision(small, held, path):
    """Their scales and tables are rounded, the codes are not."""
    model, report = quantize_weights(small, HELD[held][0])
    write_program(model, path, compute_precision="float16")
    assert agreement(model, path) < 2e-3
    made = {row.name: row.codes for row in report.weights if row.codes}
    found = stored_kernels(path)
    for name, order in KERNELS.values():
        check_codes(found[name], made[f"{name}/kernel"], order)
        table = found[name][2].get("lut", found[name][2].get("scale"))
        assert table.dtype == np.float16


def rows_of(model, path, **arguments):
    rows = write_program(model, path, **arguments)
    assert agreement(model, path) < 1e-5
    return {row.name: row for row in rows}


@pytest.mark.slow
def test_a_normalization_stays_behind_codes(small, path):
    """Folded into the kernel, it would leave no codes there."""
    model, _ = quantize_weights(small, {"nbits": 4, "mode": "kmeans"})
    rows = rows_of(model, path)
    assert rows["batch"].bytes == 4 * 20 * 4 and rows["batch"].note == ""
    assert rows["conv"].bits == 4
    assert rows["conv"].bytes == 720 // 2 + 16 * 4 + 20 * 4
    kinds = [o.op_type for o in mil_interpreter.load(path)._function.operations]
    assert kinds.count("batch_norm") == 1


@pytest.mark.slow
def test_only_codes_keep_a_normalization(small, path):
    """The kernel of `conv` holds none, and is folded."""
    config = {
        "global_config": {"nbits": 4, "mode": "kmeans"},
        "layer_name_configs": {"conv": None},
    }
    model, _ = quantize_weights(small, config)
    rows = rows_of(model, path)
    assert "folded" in rows["batch"].note
    assert [rows[n].bits for n in ("conv", "transpose", "dense")] == [32, 4, 4]


@pytest.mark.slow
def test_an_older_system_gets_floats_and_a_note(small, path):
    model, _ = quantize_weights(small, {"nbits": 4, "mode": "kmeans"})
    rows = rows_of(model, path, minimum_target="iOS15")
    assert mil_blobs.constant_operations(path) == []
    assert mil_blobs.specification_version(path) == 6
    for name, _ in KERNELS.values():
        assert rows[name].bits == 32
        assert rows[name].note == (
            "holds codes of 4 bits, which need minimum_target='iOS16'"
        )


@pytest.mark.slow
def test_an_older_system_gets_wider_codes_and_a_note(small, path):
    model, _ = quantize_weights(small, {"nbits": 4, "mode": "linear"})
    rows = rows_of(model, path, minimum_target="iOS16")
    for name, _ in KERNELS.values():
        assert rows[name].bits == 8
        assert "4 bits, which need minimum_target='iOS18'" in rows[name].note


@pytest.mark.slow
def test_codes_that_no_system_stores_are_noted(small, path):
    model, _ = quantize_weights(small, {"nbits": 12})
    rows = rows_of(model, path)
    assert mil_blobs.specification_version(path) == 6
    assert rows["dense"].bits == 32
    assert rows["dense"].note == (
        "holds codes of 12 bits, which no system stores: 8 are the most"
    )


@pytest.mark.slow
def test_pruned_floats_leave_out_their_zeros(small, pruned, path):
    rows = rows_of(pruned, path)
    assert mil_blobs.specification_version(path) == 7
    kinds = [kind for kind, _ in mil_blobs.constant_operations(path)]
    assert kinds == ["constexpr_sparse_to_dense"] * 3
    nonzero = np.count_nonzero(pruned.get_layer("dense").kernel)
    assert rows["dense"].bytes == 4 * nonzero + 384 // 8 + 24 * 4
    assert "folded" in rows["batch"].note


@pytest.mark.slow
@pytest.mark.parametrize(
    "config, kind, precision",
    [
        ({"nbits": 4, "mode": "kmeans"}, "constexpr_lut_to_sparse", "float32"),
        ({"nbits": 4, "mode": "kmeans"}, "constexpr_lut_to_sparse", "float16"),
        ({"nbits": 8}, "constexpr_sparse_blockwise_shift_scale", "float32"),
    ],
)
def test_pruned_codes_leave_out_their_zeros(
    pruned, config, kind, precision, path
):
    model, report = quantize_weights(pruned, config)
    rows = write_program(model, path, compute_precision=precision)
    assert agreement(model, path) < (1e-5 if precision == "float32" else 2e-3)
    assert mil_blobs.specification_version(path) == 9
    found = stored_kernels(path)
    made = {row.name: row.codes for row in report.weights if row.codes}
    for name, order in KERNELS.values():
        assert found[name][0] == kind
        codes, arguments = found[name][1:]
        mask = arguments.get("indices_mask", arguments.get("data_mask"))
        kernel = model.get_layer(name).kernel.numpy().transpose(order)
        np.testing.assert_array_equal(mask, kernel != 0)
        if "lut" in arguments:
            expected = made[f"{name}/kernel"].codes.transpose(order)
            np.testing.assert_array_equal(codes, expected[kernel != 0])
        assert next(r.bits for r in rows if r.name == name) == config["nbits"]
    if precision == "float32":
        check_values(model, path)


@pytest.mark.slow
def test_more_bits_than_asked_for_are_not_kept(small, path):
    model, _ = quantize_weights(small, {"nbits": 8, "mode": "linear"})
    rows = write_program(model, path, nbits=4, mode="kmeans")
    assert {row.bits for row in rows if row.name in ("conv", "dense")} == {4}
    assert "folded" in next(row.note for row in rows if row.name == "batch")


@pytest.mark.slow
def test_fewer_bits_than_asked_for_are_kept(small, path):
    model, _ = quantize_weights(small, {"nbits": 4, "mode": "kmeans"})
    rows = rows_of(model, path, nbits=8)
    for name, _ in KERNELS.values():
        assert rows[name].bits == 4 and rows[name].note == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "nbits, mode, target, kind",
    [
        (8, "linear", "iOS16", "constexpr_affine_dequantize"),
        (8, "linear", "iOS18", "constexpr_blockwise_shift_scale"),
        (4, "linear", "iOS18", "constexpr_blockwise_shift_scale"),
        (4, "linear", "iOS17", "constexpr_lut_to_dense"),
        (2, "kmeans", "iOS18", "constexpr_lut_to_dense"),
    ],
)
def test_new_codes(small, nbits, mode, target, kind, path):
    rows = write_program(small, path, nbits, mode, minimum_target=target)
    rows = {row.name: row for row in rows}
    assert agreement(small, path) < 2.0 ** (1 - nbits)
    kinds = [kind for kind, _ in mil_blobs.constant_operations(path)]
    assert kinds == [kind] * 3
    assert "folded" in rows["batch"].note
    assert all(rows[name].bits == nbits for name, _ in KERNELS.values())


@pytest.mark.slow
def test_codebooks_that_do_not_pay_are_noted(small, path):
    # 720 numbers: 8-bit codes and a codebook of 1,024 bytes, or 20 scales.
    rows = write_program(small, path, 8, "kmeans")
    rows = {row.name: row for row in rows}
    assert "codebook is large for so few numbers" in rows["conv"].note
    assert rows["conv"].bytes == 720 + 20 * 4 + 20 + 20 * 4
    # 2,880 numbers: 3,904 or 2,960 bytes. With 4 bits 1,504 in any case.
    assert rows["transpose"].bytes == 2880 + 16 * 4 + 16 + 16 * 4


def test_few_numbers_stay_floats(path):
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(1, 1)])
    (row,) = write_program(distinct_weights(model), path, 8)
    # A code, a scale and a zero point: 6 bytes in place of 4.
    assert row.bits == 32 and row.note == "too few numbers for codes"
