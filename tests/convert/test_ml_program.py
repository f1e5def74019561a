"""What Keras computes is what the written Core ML program computes."""

import collections

import keras
import numpy as np
import pytest
from coreml_models import (
    ACTIVATIONS,
    MERGES,
    MOBILENETS,
    OPERATIONS,
    PICTURE,
    SINGLE_LAYERS,
    inputs_for,
    mobilenet,
    sequential,
)
from helpers import distinct_weights
from keras import layers

from fritz_compress.convert import mil_interpreter
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.ml_program import write_program
from fritz_compress.files import size_in_bytes
from fritz_compress.models import SmallStyleTransferNetwork
from fritz_compress.ops import fidelity


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.mlpackage"


def check(model, path, tolerance=1e-5):
    write_program(model, path)
    program = mil_interpreter.load(path)
    inputs = inputs_for(model)
    expected = np.asarray(model(inputs, training=False))
    received = program(inputs)
    assert received.shape == expected.shape and np.ptp(expected) > 0
    np.testing.assert_allclose(
        received, expected, rtol=tolerance, atol=tolerance * np.ptp(expected)
    )
    return program


def chain(names):
    """As many layers as possible in one program: converting takes a second."""
    inputs = keras.Input(PICTURE)
    outputs = []
    for name in names:
        x = SINGLE_LAYERS[name]()(inputs)
        x = layers.GlobalMaxPooling2D()(x) if len(x.shape) == 4 else x
        outputs.append(x)
    joined = layers.Concatenate()(outputs)
    return distinct_weights(keras.Model(inputs, joined))


KINDS = "conv depthwise separable transpose relu pool rescaling".split()
GROUPS = {kind: [n for n in SINGLE_LAYERS if kind in n] for kind in KINDS}
GROUPS["other"] = [
    name for name in SINGLE_LAYERS if not any(kind in name for kind in KINDS)
]


@pytest.mark.slow
@pytest.mark.parametrize("names", GROUPS.values(), ids=GROUPS)
def test_layers(names, path):
    check(chain(names), path)


@pytest.mark.slow
@pytest.mark.parametrize("make", SINGLE_LAYERS.values(), ids=SINGLE_LAYERS)
def test_single_layer(make, path):
    check(sequential(make()), path)


def test_activations(path):
    inputs = keras.Input(PICTURE)
    parts = [layers.Activation(name)(inputs) for name in ACTIVATIONS]
    check(keras.Model(inputs, layers.Concatenate()(parts)), path)


@pytest.mark.slow
def test_merges(path):
    inputs = keras.Input(PICTURE)
    branches = [layers.Conv2D(3, 1, name=f"branch_{i}")(inputs) for i in "ab"]
    parts = [layers.Flatten()(merge(branches)) for merge in MERGES.values()]
    model = keras.Model(inputs, layers.Concatenate(name="all")(parts))
    check(distinct_weights(model), path)


@pytest.mark.slow
def test_operations(path):
    inputs = keras.Input(PICTURE)
    x = layers.Conv2D(4, 1, name="before")(inputs)
    parts = [layers.Flatten()(make(x)) for make in OPERATIONS.values()]
    model = keras.Model(inputs, layers.Concatenate(name="all")(parts))
    check(distinct_weights(model), path)


@pytest.mark.slow
def test_shapes_that_a_neural_network_does_not_know(path):
    model = sequential(
        layers.Reshape((7, 40)), layers.Conv1D(3, 3), layers.Permute((2, 1))
    )
    assert check(model, path).input_shape == (None, *PICTURE)


@pytest.mark.slow
@pytest.mark.parametrize("name", MOBILENETS)
def test_mobilenets(name, path):
    check(mobilenet(name), path, tolerance=1e-4)


@pytest.fixture(scope="module")
def student():
    model = SmallStyleTransferNetwork.build((64, 48), alpha=0.3)
    return distinct_weights(model)


def pictures():
    values = np.random.default_rng(0).integers(0, 256, (1, 64, 48, 3))
    return values.astype("float32")


def operations(path):
    program = mil_interpreter.load(path)._function
    kinds = [operation.op_type for operation in program.operations]
    return collections.Counter(k for k in kinds if k != "const")


def test_style_network_is_compact_and_takes_pictures(student, path):
    report = write_program(student, path)
    assert operations(path) == {
        "add": 4,
        "conv": 12,
        "instance_norm": 12,
        "mul": 1,
        "relu": 8,
        "tanh": 1,
        "upsample_nearest_neighbor": 2,
    }
    assert size_in_bytes(path) < 66_000
    program = mil_interpreter.load(path)
    assert program.input_shape == (None, 64, 48, 3)
    difference = np.abs(program(pictures()) - np.asarray(student(pictures())))
    assert difference.max() <= 0.01
    assert sum(row.parameters for row in report) == 11_868
    assert {row.bits for row in report} == {32}
    assert len({row.name for row in report}) == 24


@pytest.mark.slow
@pytest.mark.parametrize(
    "nbits, mode, largest, psnr, operation",
    [
        (16, "linear", 43_000, 50, None),
        (8, "linear", 33_000, 30, "constexpr_affine_dequantize"),
        (6, "linear", 33_000, 18, "constexpr_lut_to_dense"),
        (4, "kmeans", 28_000, 10, "constexpr_lut_to_dense"),
        (1, "kmeans", 22_000, 4, "constexpr_lut_to_dense"),
    ],
)
def test_fewer_bits(student, path, nbits, mode, largest, psnr, operation):
    precision = "float16" if nbits == 16 else "float32"
    report = write_program(
        student, path, nbits, mode, compute_precision=precision
    )
    assert size_in_bytes(path) < largest
    received = mil_interpreter.load(path)(pictures())
    assert fidelity.psnr(np.asarray(student(pictures())), received) > psnr
    # 64 numbers in a table are too many for ten of the kernels: 8 bits each.
    few = {8} if nbits == 6 else set()
    kernels = {row.bits for row in report if row.kind == "Conv2D"}
    assert kernels == {nbits} | few
    assert all("table is large" in r.note for r in report if r.bits in few)
    assert sum(row.parameters for row in report) == 11_868
    if operation is not None:
        assert operations(path)[operation] == (2 if few else 12)


@pytest.mark.slow
def test_open_size_is_fixed_on_request(path):
    model = SmallStyleTransferNetwork.build(None, alpha=0.1)
    write_program(model, path, image_size=(12, 8))
    assert mil_interpreter.load(path).input_shape == (None, 12, 8, 3)


@pytest.mark.slow
def test_the_model_is_not_changed(student, path):
    before, config = student.get_weights(), student.get_config()
    write_program(student, path, nbits=8)
    assert student.get_config() == config
    for old, new in zip(before, student.get_weights()):
        assert (old == new).all()


def test_what_cannot_be_written_is_refused_by_name(path):
    odd = layers.Lambda(keras.ops.erfinv, name="odd")
    model = sequential(layers.ReLU(), odd)
    with pytest.raises(ConversionError, match=r"'odd' \(Lambda\) of model"):
        write_program(model, path)
    assert not path.exists()


@pytest.mark.parametrize("target", ["iOS14", "macOS12", "ios16", "iOS77"])
def test_unknown_targets_are_refused(student, path, target):
    with pytest.raises(ValueError, match=f"'iOS15'|knows.*'{target}'"):
        write_program(student, path, minimum_target=target)


def test_compressed_weights_need_ios_16(student, path):
    with pytest.raises(ValueError, match="'iOS16' or newer for nbits=8"):
        write_program(student, path, nbits=8, minimum_target="iOS15")


@pytest.mark.slow
def test_newer_targets(student, path):
    write_program(student, path, minimum_target="iOS17")
    received = mil_interpreter.load(path)(pictures())
    assert np.abs(received - np.asarray(student(pictures()))).max() <= 0.01


@pytest.mark.slow
def test_what_cannot_be_checked_is_refused_by_name(path):
    odd = layers.Lambda(keras.ops.cumsum, name="odd")
    model = sequential(odd, layers.ReLU())
    with pytest.raises(ConversionError, match=r"'odd' \(Lambda\) .* 'cumsum'"):
        write_program(model, path)
    assert not path.exists()
