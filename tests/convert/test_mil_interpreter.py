"""Reading and running Core ML packages, made here by coremltools itself."""

import json
import warnings

import coremltools
import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb
from coremltools.optimize import coreml as optimize

from fritz_compress.convert import mil_interpreter
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.mil_constants import constant
from fritz_compress.silence import silenced

WEIGHT = np.random.default_rng(0).normal(size=(8, 4, 3, 3)).astype("float32")


def package(tmp_path, make, target="iOS16", compress=None, precision="FLOAT32"):
    target = getattr(coremltools.target, target)
    shape = (1, 4, 6, 5)
    program = mb.program([mb.TensorSpec(shape)], opset_version=target)(make)
    path = tmp_path / "model.mlpackage"
    with silenced():
        model = coremltools.convert(
            program,
            minimum_deployment_target=target,
            compute_precision=getattr(coremltools.precision, precision),
        )
        if compress:
            model = compress(model)
        model.save(str(path))
    return path


def convolution(x):
    return mb.conv(x=x, weight=WEIGHT, pad_type="same", name="conv")


def inputs(count=2):
    shape = (count, 4, 6, 5)
    return np.random.default_rng(1).normal(size=shape).astype("float32")


def decoded(path):
    """The weight of the convolution as the interpreter and MIL decode it."""
    program = mil_interpreter.load(path)
    (conv,) = program._function.find_ops(op_type="conv")
    ours = constant(conv.weight)
    theirs = conv.weight.val
    if theirs is None:
        theirs = conv.weight.op.materialized_val_inference()
    return conv.weight.op.op_type, ours, theirs


def test_arrays_keep_their_shape(tmp_path):
    program = mil_interpreter.load(package(tmp_path, convolution))
    assert program.input_shape == (None, 4, 6, 5)
    assert program(inputs()).shape == (2, 8, 6, 5)
    # Samples do not see each other.
    np.testing.assert_array_equal(program(inputs())[1:], program(inputs()[1:]))


def palettized(nbits):
    def lut(values):
        codes = np.arange(values.size) % 2**nbits
        return np.linspace(-1, 1, 2**nbits, dtype="float32"), np.uint8(codes)

    config = optimize.OpPalettizerConfig(
        mode="custom", lut_function=lut, weight_threshold=0
    )
    return lambda model: optimize.palettize_weights(
        model, optimize.OptimizationConfig(config)
    )


@pytest.mark.parametrize("nbits", [1, 2, 4, 6, 8])
def test_codebooks_are_decoded_from_their_bits(tmp_path, nbits):
    path = package(tmp_path, convolution, compress=palettized(nbits))
    kind, ours, theirs = decoded(path)
    assert kind == "constexpr_lut_to_dense"
    codes = np.arange(WEIGHT.size) % 2**nbits
    expected = np.linspace(-1, 1, 2**nbits, dtype="float32")[codes]
    np.testing.assert_array_equal(ours, expected.reshape(WEIGHT.shape))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("mode", ["linear", "linear_symmetric"])
def test_linear_weights_are_decoded(tmp_path, mode, dtype):
    config = optimize.OpLinearQuantizerConfig(
        mode=mode, dtype=dtype, weight_threshold=0
    )
    path = package(
        tmp_path,
        convolution,
        compress=lambda model: optimize.linear_quantize_weights(
            model, optimize.OptimizationConfig(config)
        ),
    )
    kind, ours, theirs = decoded(path)
    assert kind == "constexpr_affine_dequantize"
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    assert np.abs(ours - WEIGHT).max() < np.ptp(WEIGHT) / 200


def test_forms_of_ios_18_are_decoded(tmp_path):
    config = optimize.OpLinearQuantizerConfig(
        dtype="int4", granularity="per_channel", weight_threshold=0
    )
    path = package(
        tmp_path,
        convolution,
        target="iOS18",
        compress=lambda model: optimize.linear_quantize_weights(
            model, optimize.OptimizationConfig(config)
        ),
    )
    program = mil_interpreter.load(path)
    exact = mil_interpreter.load(package(tmp_path, convolution))
    difference = np.abs(program(inputs()) - exact(inputs())).max()
    assert 0 < difference < 3


def test_half_precision_weights_are_what_the_file_holds(tmp_path):
    path = package(tmp_path, convolution, precision="FLOAT16")
    _, ours, _ = decoded(path)
    np.testing.assert_array_equal(ours, WEIGHT.astype("float16"))
    assert mil_interpreter.load(path)(inputs()).dtype == np.float32


def test_several_outputs_of_one_operation(tmp_path):
    def make(x):
        first, second = mb.split(x=x, num_splits=2, axis=1)
        return mb.sub(x=first, y=second)

    program = mil_interpreter.load(package(tmp_path, make))
    expected = inputs()[:, :2] - inputs()[:, 2:]
    np.testing.assert_allclose(program(inputs()), expected)


def test_unknown_operations_are_named(tmp_path):
    path = package(tmp_path, lambda x: mb.acos(x=x, name="odd"))
    with pytest.raises(ConversionError, match="'odd': kind 'acos'"):
        mil_interpreter.load(path)(inputs())


def test_arguments_that_are_not_known_name_the_operation(tmp_path):
    def make(x):
        return mb.gelu(x=x, mode="SIGMOID_APPROXIMATION", name="odd")

    path = package(tmp_path, make)
    with pytest.raises(ConversionError, match="'odd' of kind 'gelu': mode"):
        mil_interpreter.load(path)(inputs())


def test_other_shapes_are_refused(tmp_path):
    program = mil_interpreter.load(package(tmp_path, convolution))
    with pytest.raises(ValueError, match=r"\(None, 4, 6, 5\). Received"):
        program(inputs()[:, :3])
    with pytest.raises(ValueError, match="Received"):
        program(inputs(0))


def test_folders_that_are_no_packages_are_refused(tmp_path):
    with pytest.raises(ConversionError, match="is no Core ML package"):
        mil_interpreter.load(tmp_path)
    (tmp_path / "Manifest.json").write_text(json.dumps({"itemInfoEntries": {}}))
    with pytest.raises(ConversionError, match="is no Core ML package"):
        mil_interpreter.load(tmp_path)


def test_a_neural_network_in_a_package_is_refused(tmp_path):
    path = package(tmp_path, convolution)
    (root,) = path.rglob("model.mlmodel")
    root.write_bytes(b"")
    with pytest.raises(ConversionError, match="Received: an empty model"):
        mil_interpreter.load(path)


def test_loading_is_silent_and_leaves_warnings_alone(tmp_path, capfd):
    path = package(tmp_path, convolution)
    capfd.readouterr()
    before = list(warnings.filters)
    mil_interpreter.load(path)
    assert capfd.readouterr() == ("", "")
    assert warnings.filters == before
