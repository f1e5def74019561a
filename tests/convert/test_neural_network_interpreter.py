"""The interpreter against numbers worked out by hand from the specification.

The networks are made with coremltools' own builder or its messages, never with
the code of this package that writes networks.
"""

import numpy as np
import pytest
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder
from coremltools.proto import Model_pb2, NeuralNetwork_pb2

from fritz_compress.convert import neural_network_interpreter
from fritz_compress.convert.errors import ConversionError

ONE_TO_FOUR = [[1, 2], [3, 4]]


def builder(shape=(1, 2, 2), output=(1, 2, 2)):
    return NeuralNetworkBuilder(
        [("x", datatypes.Array(*shape))], [("y", datatypes.Array(*output))]
    )


def picture(values):
    """(height, width) as a batch of one picture of one channel."""
    return np.array(values, "float32")[None, :, :, None]


def run(network, x):
    return neural_network_interpreter.load(network.spec)(x)


def run_one_channel(add, values=ONE_TO_FOUR, output=(2, 2)):
    network = builder((1, *np.shape(values)), (1, *output))
    add(network)
    return run(network, picture(values))[0, :, :, 0].tolist()


def add_ones(network, size=3, stride=1, mode="same", **keywords):
    network.add_convolution(
        "c",
        1,
        1,
        size,
        size,
        stride,
        stride,
        mode,
        1,
        np.ones((size, size, 1, 1)),
        None,
        False,
        input_name="x",
        output_name="y",
        **keywords,
    )


def test_convolution_valid():
    assert run_one_channel(
        lambda n: add_ones(n, size=2, mode="valid"), output=(1, 1)
    ) == [[10]]


def test_convolution_valid_with_padding():
    assert run_one_channel(
        lambda n: add_ones(n, size=2, mode="valid", padding_top=1),
        output=(2, 1),
    ) == [[3], [10]]


@pytest.mark.parametrize(
    "asymmetry, expected",
    [
        # One row and column of padding, at the bottom right or the top left.
        ("BOTTOM_RIGHT_HEAVY", [[10, 6], [7, 4]]),
        ("TOP_LEFT_HEAVY", [[1, 3], [4, 10]]),
    ],
)
def test_same_padding_has_two_asymmetries(asymmetry, expected):
    assert (
        run_one_channel(
            lambda n: add_ones(n, size=2, same_padding_asymmetry_mode=asymmetry)
        )
        == expected
    )


def test_same_padding_with_stride_2():
    # Sizes 4 and kernel 3: H_out = 2, one row of padding, at the bottom.
    values = np.arange(16).reshape(4, 4)
    corner = [[45, 39], [66, 50]]
    assert run_one_channel(lambda n: add_ones(n, stride=2), values) == corner


def test_dilated_convolution():
    values = np.arange(9).reshape(3, 3)
    assert run_one_channel(
        lambda n: add_ones(n, 2, mode="valid", dilation_factors=[2, 2]),
        values,
        (1, 1),
    ) == [[0 + 2 + 6 + 8]]


def test_convolution_of_channels_with_bias():
    network = builder((2, 1, 1), (3, 1, 1))
    # Height, width, in, out: out channel o has weights (o, 10 o).
    kernel = np.array([[[[0, 1, 2], [0, 10, 20]]]])
    network.add_convolution(
        "c",
        2,
        3,
        1,
        1,
        1,
        1,
        "valid",
        1,
        kernel,
        np.array([0.5, 0, 0]),
        True,
        input_name="x",
        output_name="y",
    )
    x = np.array([[[[3, 4]]]], "float32")
    assert run(network, x).ravel().tolist() == [0.5, 43, 86]


@pytest.mark.parametrize(
    "groups, filters, expected", [(2, 2, [3, 40]), (2, 4, [3, 30, 400, 4000])]
)
def test_grouped_convolution(groups, filters, expected):
    network = builder((2, 1, 1), (filters, 1, 1))
    kernel = 10.0 ** np.arange(filters).reshape(1, 1, 1, filters)
    network.add_convolution(
        "c",
        1,
        filters,
        1,
        1,
        1,
        1,
        "valid",
        groups,
        kernel,
        None,
        False,
        input_name="x",
        output_name="y",
    )
    x = np.array([[[[3, 4]]]], "float32")
    assert run(network, x).ravel().tolist() == expected


def test_grouped_convolution_of_several_channels_each():
    network = builder((4, 1, 1), (2, 1, 1))
    kernel = np.array([[[[1, 2], [10, 20]]]])
    network.add_convolution(
        "c",
        2,
        2,
        1,
        1,
        1,
        1,
        "valid",
        2,
        kernel,
        None,
        False,
        input_name="x",
        output_name="y",
    )
    x = np.array([[[[1, 2, 3, 4]]]], "float32")
    # First filter: channels 1 and 2. Second: channels 3 and 4.
    assert run(network, x).ravel().tolist() == [21, 86]


def test_deconvolution():
    def add(network):
        network.add_convolution(
            "c",
            1,
            1,
            2,
            2,
            1,
            1,
            "valid",
            1,
            np.array(ONE_TO_FOUR).reshape(2, 2, 1, 1),
            None,
            False,
            is_deconv=True,
            input_name="x",
            output_name="y",
            padding_bottom=1,
        )

    # Each input paints its kernel; the last of three rows is cut off.
    values = [[1, 0], [10, 0]]
    assert run_one_channel(add, values, (2, 3)) == [[1, 2, 0], [13, 24, 0]]


def test_batchnorm():
    network = builder()
    network.add_batchnorm(
        "b",
        1,
        *map(np.array, ([2.0], [1.0], [3.0], [15.0])),
        "x",
        "y",
        epsilon=1.0,
    )
    result = run(network, picture(ONE_TO_FOUR))[0, :, :, 0]
    # 2 (x - 3) / sqrt(15 + 1) + 1
    np.testing.assert_allclose(result, [[0, 0.5], [1, 1.5]])


def test_instance_normalization_uses_each_picture_and_channel_alone():
    network = builder((2, 1, 2), (2, 1, 2))
    network.add_batchnorm(
        "b",
        2,
        np.array([1.0, 2.0]),
        np.array([0.0, 10.0]),
        input_name="x",
        output_name="y",
        compute_mean_var=True,
        instance_normalization=True,
        epsilon=3.0,
    )
    x = np.array([[[[0, 8], [2, 8]]], [[[5, 1], [5, 3]]]], "float32")
    expected = [[[[-0.5, 10], [0.5, 10]]], [[[0, 9], [0, 11]]]]
    np.testing.assert_allclose(run(network, x), expected, atol=1e-6)


def test_inner_product():
    network = builder((2,), (3,))
    weights = np.array([[1, 0], [0, 1], [1, 1]])
    network.add_inner_product(
        "d", weights, np.array([0, 0, 0.5]), 2, 3, True, "x", "y"
    )
    x = np.array([[3, 4], [5, 6]], "float32")
    assert run(network, x).tolist() == [[3, 4, 7.5], [5, 6, 11.5]]


ACTIVATIONS = {
    # At -1, 0, 1 and 2.
    "RELU": (None, [0, 0, 1, 2]),
    "LEAKYRELU": ([0.5], [-0.5, 0, 1, 2]),
    "THRESHOLDEDRELU": (1.0, [0, 0, 1, 2]),
    "PRELU": (np.array([0.25]), [-0.25, 0, 1, 2]),
    "LINEAR": ([2.0, 1.0], [-1, 1, 3, 5]),
    "SIGMOID_HARD": ([0.25, 0.5], [0.25, 0.5, 0.75, 1]),
    "SOFTSIGN": (None, [-0.5, 0, 0.5, 2 / 3]),
    "TANH": (None, [-0.76159416, 0, 0.76159416, 0.96402758]),
    "SCALED_TANH": ([2.0, 0.5], [-0.92423431, 0, 0.92423431, 1.52318831]),
    "SIGMOID": (None, [0.26894142, 0.5, 0.73105858, 0.88079708]),
    "ELU": (2.0, [-1.26424112, 0, 1, 2]),
    "SOFTPLUS": (None, [0.31326169, 0.69314718, 1.31326169, 2.12692801]),
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activation(kind):
    params, expected = ACTIVATIONS[kind]
    result = run_one_channel(
        lambda n: n.add_activation("a", kind, "x", "y", params),
        [[-1, 0], [1, 2]],
    )
    np.testing.assert_allclose(np.ravel(result), expected, rtol=1e-6)


UNARY = {
    "sqrt": [1, 2**0.5, 3**0.5, 2],
    "rsqrt": [1, 0.5**0.5, (1 / 3) ** 0.5, 0.5],
    "inverse": [1, 0.5, 1 / 3, 0.25],
    "power": [1, 4, 9, 16],
    "exp": [np.e, np.e**2, np.e**3, np.e**4],
    "log": [0, np.log(2), np.log(3), np.log(4)],
    "abs": [1, 2, 3, 4],
    "threshold": [2, 2, 3, 4],
}


@pytest.mark.parametrize("kind", UNARY)
def test_unary(kind):
    result = run_one_channel(
        lambda n: n.add_unary("u", "x", "y", kind, 2.0, epsilon=1e-6)
    )
    np.testing.assert_allclose(np.ravel(result), UNARY[kind], rtol=1e-5)


def test_unary_scales_and_shifts_first():
    result = run_one_channel(
        lambda n: n.add_unary("u", "x", "y", "abs", scale=-2, shift=5)
    )
    assert result == [[3, 1], [1, 3]]


def test_softmax_runs_over_channels():
    network = builder((2, 1, 1), (2, 1, 1))
    network.add_softmax("s", "x", "y")
    x = np.log([[[[1, 3]]]]).astype("float32")
    np.testing.assert_allclose(run(network, x).ravel(), [0.25, 0.75])


MERGES = {
    "ADD": [[1, 4], [9, 16]],
    "MULTIPLY": [[0, 4], [18, 48]],
    "MAX": [[1, 2], [6, 12]],
    "MIN": [[0, 2], [3, 4]],
    "AVE": [[0.5, 2], [4.5, 8]],
}


@pytest.mark.parametrize("mode", MERGES)
def test_two_inputs(mode):
    network = builder()
    # [[0, 2], [6, 12]], as x^2 - x.
    network.add_unary("u", "x", "square", "power", alpha=2.0)
    network.add_activation("a", "LINEAR", "x", "minus", [-1.0, 0.0])
    network.add_elementwise("e", ["square", "minus"], "other", "ADD")
    network.add_elementwise("f", ["x", "other"], "y", mode)
    result = run(network, picture(ONE_TO_FOUR))[0, :, :, 0]
    assert result.tolist() == MERGES[mode]


@pytest.mark.parametrize("mode, expected", [("ADD", 7), ("MULTIPLY", 10)])
def test_one_input_and_a_number(mode, expected):
    network = builder((1, 1, 1), (1, 1, 1))
    network.add_elementwise("e", "x", "y", mode, alpha=5)
    assert run(network, picture([[2]])).item() == expected


def test_concatenation_of_channels():
    network = builder((2, 1, 1), (4, 1, 1))
    network.add_elementwise("e", ["x", "x"], "y", "CONCAT")
    x = np.array([[[[1, 2]]]], "float32")
    assert run(network, x).ravel().tolist() == [1, 2, 1, 2]


def test_pooling():
    def pooled(kind, padding, **keywords):
        return run_one_channel(
            lambda n: n.add_pooling(
                "p", 2, 2, 1, 1, kind, padding, "x", "y", **keywords
            ),
            output=(1, 1) if padding == "VALID" else (2, 2),
        )

    assert pooled("MAX", "VALID") == [[4]]
    assert pooled("AVERAGE", "VALID") == [[2.5]]
    assert pooled("MAX", "SAME") == [[4, 4], [4, 4]]
    assert pooled("AVERAGE", "SAME") == [[2.5, 3], [3.5, 4]]
    included = pooled("AVERAGE", "SAME", exclude_pad_area=False)
    assert included == [[2.5, 1.5], [1.75, 1]]


def test_maximum_of_negative_values_ignores_padding():
    result = run_one_channel(
        lambda n: n.add_pooling("p", 2, 2, 1, 1, "MAX", "SAME", "x", "y"),
        [[-1, -2], [-3, -4]],
    )
    assert result == [[-1, -2], [-3, -4]]


@pytest.mark.parametrize("kind, expected", [("MAX", 4), ("AVERAGE", 2.5)])
def test_global_pooling(kind, expected):
    network = builder((1, 2, 2), (1,))
    network.add_pooling(
        "p", 1, 1, 1, 1, kind, "VALID", "x", "y", is_global=True
    )
    assert run(network, picture(ONE_TO_FOUR)).tolist() == [[expected]]


@pytest.mark.parametrize(
    "mode, axis, expected",
    [
        ("sum", "CHW", [[21]]),
        ("avg", "HW", [[2, 5]]),
        ("max", "C", [[4, 5, 6]]),
        ("min", "W", [[1, 4]]),
        ("avg", "H", [[1, 2, 3, 4, 5, 6]]),
    ],
)
def test_reduction_leaves_axes_of_length_1(mode, axis, expected):
    # Two channels of height 1: 1, 2, 3 and 4, 5, 6.
    shape = [1 if name in axis else n for name, n in zip("CHW", (2, 1, 3))]
    network = builder((2, 1, 3), shape)
    network.add_reduce("r", "x", "y", axis, mode)
    x = np.array([[1, 2, 3], [4, 5, 6]], "float32").T[None, None]
    result = np.transpose(run(network, x), (0, 3, 1, 2))
    assert list(result.shape[1:]) == shape
    np.testing.assert_allclose(result.reshape(1, -1), expected)


def test_other_reductions_are_refused():
    network = builder((2, 1, 3), (1, 1, 3))
    network.add_reduce("r", "x", "y", "C", "prod")
    with pytest.raises(ConversionError, match="'r': reduction 2 is not known"):
        run(network, np.ones((1, 1, 3, 2), "float32"))


def test_nearest_upsampling():
    result = run_one_channel(
        lambda n: n.add_upsample("u", 1, 2, "x", "y"), output=(2, 4)
    )
    assert result == [[1, 1, 2, 2], [3, 3, 4, 4]]


@pytest.mark.parametrize(
    "mode, expected",
    [
        ("DEFAULT", [0, 4, 8, 8]),  # Spacing (2 - 2/4) / 3 = 0.5.
        ("ALIGN_CORNERS_TRUE", [0, 8 / 3, 16 / 3, 8]),
        ("ALIGN_CORNERS_FALSE", [0, 2, 6, 8]),  # -0.25, 0.25, 0.75, 1.25.
    ],
)
def test_bilinear_upsampling(mode, expected):
    result = run_one_channel(
        lambda n: n.add_upsample("u", 1, 2, "x", "y", "BILINEAR", mode),
        [[0, 8]],
        (1, 4),
    )
    np.testing.assert_allclose(result[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("constant", [[9, 9, 9], [1, 2, 9], [3, 4, 9]]),
        ("reflection", [[3, 4, 3], [1, 2, 1], [3, 4, 3]]),
        ("replication", [[1, 2, 2], [1, 2, 2], [3, 4, 4]]),
    ],
)
def test_padding(kind, expected):
    result = run_one_channel(
        lambda n: n.add_padding(
            "p",
            right=1,
            top=1,
            value=9,
            input_name="x",
            output_name="y",
            padding_type=kind,
        ),
        output=(3, 3),
    )
    assert result == expected


def test_crop():
    values = np.arange(12).reshape(3, 4)
    result = run_one_channel(
        lambda n: n.add_crop("c", 1, 2, 0, 1, [0, 0], ["x"], "y"),
        values,
        (2, 1),
    )
    assert result == [[1], [5]]


# Height 1, width 2, channels 2.
PIXELS = np.array([[[[1, 2], [3, 4]]]], "float32")


@pytest.mark.parametrize(
    "mode, expected", [(0, [1, 3, 2, 4]), (1, [1, 2, 3, 4])]
)
def test_flatten_in_both_orders(mode, expected):
    network = builder((2, 1, 2), (4,))
    network.add_flatten("f", mode, "x", "y")
    assert run(network, PIXELS).tolist() == [expected]


@pytest.mark.parametrize(
    "mode, expected",
    [
        # Channels first: the numbers of one channel stay one row.
        (0, [[[[1], [3]], [[2], [4]]]]),
        (1, [[[[1], [2]], [[3], [4]]]]),
    ],
)
def test_reshape_in_both_orders(mode, expected):
    network = builder((2, 1, 2), (1, 2, 2))
    network.add_reshape("r", "x", "y", (1, 2, 2), mode)
    assert run(network, PIXELS).tolist() == expected


def test_permute_names_for_each_axis_where_it_comes_from():
    network = builder((2, 1, 3), (3, 2, 1))
    network.add_permute("p", (0, 3, 1, 2), "x", "y")
    # Rows, columns and channels, where channels are 10 and more.
    x = np.array([[[[1, 10], [2, 20], [3, 30]]]], "float32")
    # Channels are what were columns, rows what were channels.
    assert run(network, x).tolist() == [[[[1, 2, 3]], [[10, 20, 30]]]]


def test_permutation_of_sequences_is_refused():
    network = builder((2, 1, 1), (2, 1, 1))
    network.add_permute("p", (1, 0, 2, 3), "x", "y")
    with pytest.raises(ConversionError, match="'p': permutation of sequences"):
        run(network, np.zeros((1, 1, 1, 2), "float32"))


@pytest.mark.parametrize(
    "axis, ends, expected",
    [
        ("channel", (1, 4, 2), [[[[1, 3]] * 3] * 4]),
        ("height", (1, -1, 1), [[[[0, 1, 2, 3]] * 3] * 2]),
        ("width", (0, 3, 2), [[[[0, 1, 2, 3]] * 2] * 4]),
    ],
)
def test_slice_leaves_out_its_end(axis, ends, expected):
    network = builder((4, 4, 3), np.transpose(expected[0], (2, 0, 1)).shape)
    network.add_slice("s", "x", "y", axis, *ends)
    x = np.broadcast_to(np.arange(4, dtype="float32"), (1, 4, 3, 4))
    assert run(network, x).tolist() == expected


def test_depth_to_space():
    network = builder((8, 1, 1), (2, 2, 2))
    network.add_reorganize_data("d", "x", "y", "DEPTH_TO_SPACE", 2)
    pixel = np.arange(8, dtype="float32").reshape(1, 1, 1, 8)
    # Two numbers for each place of the block, row by row.
    expected = [[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]]
    assert run(network, pixel).tolist() == expected
    network = builder((8, 1, 1), (2, 2, 2))
    network.add_reorganize_data("d", "x", "y", "PIXEL_SHUFFLE", 2)
    with pytest.raises(ConversionError, match="only depth to space is known"):
        run(network, pixel)


@pytest.mark.parametrize(
    "shape, values, expected",
    [
        ([1], [10], [[10, 20], [30, 40]]),
        ([2], [10, 100], [[10, 200], [30, 400]]),
        ([1, 1, 2], [10, 100], [[10, 20], [300, 400]]),
        ([2, 1, 2], [1, 10, 100, 1000], [[1, 200], [30, 4000]]),
    ],
)
def test_scale_in_all_shapes(shape, values, expected):
    network = builder((2, 1, 2), (2, 1, 2))
    network.add_scale(
        "s", np.array(values), np.array([5.0]), True, "x", "y", shape
    )
    result = run(network, PIXELS)[0, 0]
    assert (result - 5).tolist() == expected


def test_bias():
    network = builder((2, 1, 2), (2, 1, 2))
    network.add_bias("b", np.array([10, 100]), "x", "y", [2])
    assert run(network, PIXELS)[0, 0].tolist() == [[11, 102], [13, 104]]


def test_scaler_before_the_first_layer():
    network = builder((3, 1, 1), (3, 1, 1))
    network.add_activation("a", "LINEAR", "x", "y")
    network.set_pre_processing_parameters(
        ["x"],
        is_bgr=False,
        image_scale=2.0,
        red_bias=1,
        green_bias=10,
        blue_bias=100,
    )
    x = np.array([[[[1, 2, 3]]]], "float32")
    assert run(network, x).ravel().tolist() == [3, 14, 106]


def custom(name):
    network = builder()
    params = NeuralNetwork_pb2.CustomLayerParams(className=name)
    network.add_custom("c", ["x"], ["y"], params)
    return network


def test_custom_layers():
    x = picture([[-1, 0], [1, 2]])
    result = run(custom("DeprocessStylizedImage"), x)[0, :, :, 0]
    assert result.tolist() == [[0, 127.5], [255, 382.5]]
    own = neural_network_interpreter.load(
        custom("Mine").spec, {"Mine": lambda x: x[:, ::-1]}
    )
    assert own(x)[0, :, :, 0].tolist() == [[1, 2], [-1, 0]]
    with pytest.raises(ConversionError, match="custom layer of class 'Mine'"):
        run(custom("Mine"), x)


def test_unknown_layers_are_named():
    network = builder()
    network.add_lrn("odd", "x", "y", 1.0, 1.0, 3)
    with pytest.raises(ConversionError, match="'odd'.*kind 'lrn'"):
        run(network, picture(ONE_TO_FOUR))


def test_files(tmp_path):
    network = builder()
    network.add_activation("a", "LINEAR", "x", "y", [2.0, 0.0])
    path = tmp_path / "twice.mlmodel"
    path.write_bytes(network.spec.SerializeToString())
    loaded = neural_network_interpreter.load(path)
    assert loaded.input_shape == (None, 2, 2, 1)
    batch = np.concatenate([picture(ONE_TO_FOUR), picture(ONE_TO_FOUR) * 3])
    assert (loaded(batch) == batch * 2).all()
    with pytest.raises(ValueError, match=r"\(None, 2, 2, 1\). Received"):
        loaded(batch[:, :1])


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.mlmodel"
    path.write_bytes(b"\xff\xff\xff")
    with pytest.raises(ConversionError, match="is no Core ML model"):
        neural_network_interpreter.load(path)
    with pytest.raises(ConversionError, match="Received: an empty model"):
        neural_network_interpreter.load(Model_pb2.Model())


def test_description_must_fit_the_layers():
    network = builder(output=(1, 3, 3))
    network.add_activation("a", "LINEAR", "x", "y")
    with pytest.raises(ConversionError, match=r"\(3, 3, 1\).*\(2, 2, 1\)"):
        run(network, picture(ONE_TO_FOUR))
