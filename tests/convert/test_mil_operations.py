"""Every operation of Core ML programs against numbers worked out by hand."""

import numpy as np
import pytest

from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.mil_operations import OPERATIONS

X = np.array([[1.0, 2], [3, 4]], "float32")
PICTURE = X[None, None]
SIGNS = np.array([-1.0, 0, 1, 2], "float32")
NONE = {"pad_type": "valid"}


def ones(*shape):
    return np.ones(shape, "float32")


CASES = {
    "abs": [({"x": SIGNS}, [1, 0, 1, 2])],
    "add": [({"x": X, "y": 1}, [[2, 3], [4, 5]])],
    "avg_pool": [
        (
            {"x": PICTURE, "kernel_sizes": [2, 2], "strides": [1, 1], **NONE},
            2.5,
        ),
        (
            {
                "x": PICTURE,
                "kernel_sizes": [2, 2],
                "strides": [1, 1],
                "pad_type": "same",
                "exclude_padding_from_average": True,
            },
            [[2.5, 3], [3.5, 4]],
        ),
        (
            {
                "x": PICTURE,
                "kernel_sizes": [2, 2],
                "strides": [1, 1],
                "pad_type": "same",
            },
            [[2.5, 1.5], [1.75, 1]],
        ),
    ],
    "batch_norm": [
        (
            {
                "x": PICTURE,
                "mean": np.float32([3]),
                "variance": np.float32([15]),
                "gamma": np.float32([2]),
                "beta": np.float32([1]),
                "epsilon": 1.0,
            },
            [[0, 0.5], [1, 1.5]],
        ),
        (
            {
                "x": PICTURE,
                "mean": np.float32([1]),
                "variance": np.float32([4]),
                "epsilon": 0.0,
            },
            [[0, 0.5], [1, 1.5]],
        ),
    ],
    "cast": [({"x": np.float32([1.5, -2.5]), "dtype": "int32"}, [1, -2])],
    "clamped_relu": [
        ({"x": SIGNS, "alpha": 0.5, "beta": 1.0}, [-0.5, 0, 1, 1])
    ],
    "clip": [({"x": SIGNS, "alpha": -0.5, "beta": 1.5}, [-0.5, 0, 1, 1.5])],
    "concat": [({"values": [X, X], "axis": 1}, [[1, 2, 1, 2], [3, 4, 3, 4]])],
    "conv": [
        ({"x": PICTURE, "weight": ones(1, 1, 2, 2)}, 10),
        (
            {"x": PICTURE, "weight": ones(1, 1, 2, 2), "pad_type": "same"},
            [[10, 6], [7, 4]],
        ),
        (
            {
                "x": PICTURE,
                "weight": ones(1, 1, 2, 2),
                "pad_type": "same_lower",
            },
            [[1, 3], [4, 10]],
        ),
        (
            {
                "x": PICTURE,
                "weight": ones(1, 1, 2, 2),
                "bias": np.float32([0.5]),
                "pad_type": "custom",
                "pad": [1, 0, 0, 0],
            },
            [[3.5], [10.5]],
        ),
        (
            {
                "x": np.arange(9, dtype="float32").reshape(1, 1, 3, 3),
                "weight": ones(1, 1, 2, 2),
                "dilations": [2, 2],
            },
            16,
        ),
        (
            {
                "x": np.float32([3, 4]).reshape(1, 2, 1, 1),
                "weight": np.float32([1, 10]).reshape(2, 1, 1, 1),
                "groups": 2,
            },
            [[[3]], [[40]]],
        ),
        (  # One axis: [batch, channels, length].
            {
                "x": np.float32([[[1, 2, 3]]]),
                "weight": ones(1, 1, 2),
                "strides": [1],
                "pad": [0, 0],
            },
            [3, 5],
        ),
    ],
    "conv_transpose": [
        (
            {"x": PICTURE, "weight": ones(1, 1, 1, 2), "strides": [1, 1]},
            [[1, 3, 2], [3, 7, 4]],
        ),
        (
            {
                "x": PICTURE,
                "weight": ones(1, 1, 1, 2),
                "pad_type": "custom",
                "pad": [0, 0, 1, 0],
            },
            [[3, 2], [7, 4]],
        ),
        (
            {
                "x": PICTURE,
                "weight": ones(1, 1, 1, 2),
                "pad_type": "same",
                "strides": [1, 3],
            },
            [[1, 1, 0, 2, 2, 0], [3, 3, 0, 4, 4, 0]],
        ),
    ],
    "elu": [({"x": SIGNS, "alpha": 2.0}, [-1.2642411, 0, 1, 2])],
    "equal": [({"x": SIGNS, "y": 1}, [False, False, True, False])],
    "erf": [({"x": SIGNS}, [-0.84270079, 0, 0.84270079, 0.99532227])],
    "depth_to_space": [
        (
            {"x": np.arange(8.0).reshape(1, 8, 1, 1), "block_size": 2},
            [[[0, 2], [4, 6]], [[1, 3], [5, 7]]],
        )
    ],
    "exp": [({"x": SIGNS}, [0.36787944, 1, np.e, np.e**2])],
    "expand_dims": [({"x": X, "axes": [0, 3]}, [[[[1], [2]], [[3], [4]]]])],
    "gelu": [
        ({"x": SIGNS}, [-0.15865525, 0, 0.84134475, 1.9544997]),
        (
            {"x": SIGNS, "mode": "TANH_APPROXIMATION"},
            [-0.15880801, 0, 0.84119199, 1.9545977],
        ),
    ],
    "greater": [({"x": SIGNS, "y": 1}, [False, False, False, True])],
    "greater_equal": [({"x": SIGNS, "y": 1}, [False, False, True, True])],
    "identity": [({"x": X}, X)],
    "instance_norm": [
        (
            {
                "x": np.float32([0, 2]).reshape(1, 1, 1, 2),
                "gamma": np.float32([4]),
                "beta": np.float32([10]),
                "epsilon": 3.0,
            },
            [8, 12],
        ),
        (
            {"x": np.float32([0, 4]).reshape(1, 1, 1, 2), "epsilon": 0.0},
            [-1, 1],
        ),
    ],
    "inverse": [({"x": X, "epsilon": 1.0}, [[1 / 2, 1 / 3], [1 / 4, 1 / 5]])],
    "leaky_relu": [({"x": SIGNS, "alpha": 0.5}, [-0.5, 0, 1, 2])],
    "less": [({"x": SIGNS, "y": 1}, [True, True, False, False])],
    "less_equal": [({"x": SIGNS, "y": 1}, [True, True, True, False])],
    "linear": [
        (
            {
                "x": np.float32([[3, 4]]),
                "weight": np.float32([[1, 0], [0, 1], [1, 1]]),
                "bias": np.float32([0, 0, 0.5]),
            },
            [3, 4, 7.5],
        )
    ],
    "linear_activation": [
        ({"x": SIGNS, "alpha": 2.0, "beta": 1.0}, [-1, 1, 3, 5])
    ],
    "log": [({"x": X}, [[0, 0.6931472], [1.0986123, 1.3862944]])],
    "matmul": [
        ({"x": X, "y": X}, [[7, 10], [15, 22]]),
        ({"x": X, "y": X, "transpose_x": True}, [[10, 14], [14, 20]]),
        ({"x": X, "y": X, "transpose_y": True}, [[5, 11], [11, 25]]),
    ],
    "max_pool": [
        ({"x": PICTURE, "kernel_sizes": [2, 2], "strides": [1, 1], **NONE}, 4),
        (
            {
                "x": -PICTURE,
                "kernel_sizes": [2, 2],
                "strides": [1, 1],
                "pad_type": "same",
            },
            [[-1, -2], [-3, -4]],
        ),
    ],
    "maximum": [({"x": SIGNS, "y": 0.5}, [0.5, 0.5, 1, 2])],
    "minimum": [({"x": SIGNS, "y": 0.5}, [-1, 0, 0.5, 0.5])],
    "mul": [({"x": X, "y": X}, [[1, 4], [9, 16]])],
    "pad": [
        (
            {"x": X, "pad": [0, 0, 1, 1], "constant_val": 9.0},
            [[9, 1, 2, 9], [9, 3, 4, 9]],
        ),
        ({"x": X, "pad": [1, 0], "mode": "reflect"}, [[2, 1, 2], [4, 3, 4]]),
        ({"x": X, "pad": [1, 0], "mode": "replicate"}, [[1, 1, 2], [3, 3, 4]]),
    ],
    "pow": [({"x": X, "y": 2.0}, [[1, 4], [9, 16]])],
    "prelu": [
        ({"x": -PICTURE, "alpha": np.float32([0.5])}, [[-0.5, -1], [-1.5, -2]])
    ],
    "real_div": [({"x": X, "y": 2.0}, [[0.5, 1], [1.5, 2]])],
    "reduce_max": [({"x": X, "axes": [0]}, [3, 4])],
    "reduce_mean": [
        ({"x": X, "axes": [-1]}, [1.5, 3.5]),
        ({"x": X}, 2.5),
        ({"x": X, "axes": [1], "keep_dims": True}, [[1.5], [3.5]]),
    ],
    "reduce_min": [({"x": X, "axes": [1]}, [1, 3])],
    "reduce_sum": [({"x": X, "axes": [0]}, [4, 6])],
    "relu": [({"x": SIGNS}, [0, 0, 1, 2])],
    "relu6": [({"x": SIGNS * 4}, [0, 0, 4, 6])],
    "reshape": [
        ({"x": X, "shape": [4]}, [1, 2, 3, 4]),
        ({"x": X, "shape": [0, -1, 1]}, [[[1], [2]], [[3], [4]]]),
    ],
    "resize_nearest_neighbor": [
        (
            {"x": PICTURE, "target_size_height": 2, "target_size_width": 4},
            [[1, 1, 2, 2], [3, 3, 4, 4]],
        )
    ],
    "round": [({"x": np.float32([-1.4, 0.6, 2.2])}, [-1, 1, 2])],
    "rsqrt": [({"x": X}, [[1, 0.70710678], [0.57735027, 0.5]])],
    "scaled_tanh": [
        (
            {"x": SIGNS, "alpha": 2.0, "beta": 0.5},
            [-0.92423431, 0, 0.92423431, 1.52318831],
        )
    ],
    "select": [({"cond": X > 2, "a": X, "b": -X}, [[-1, -2], [3, 4]])],
    "sigmoid": [({"x": SIGNS}, [0.26894142, 0.5, 0.73105858, 0.88079708])],
    "sigmoid_hard": [
        ({"x": SIGNS, "alpha": 0.25, "beta": 0.5}, [0.25, 0.5, 0.75, 1])
    ],
    "sign": [({"x": SIGNS}, [-1, 0, 1, 1])],
    "silu": [({"x": SIGNS}, [-0.26894142, 0, 0.73105858, 1.76159416])],
    "slice_by_index": [
        ({"x": X, "begin": [0, 1], "end": [2, 2]}, [[2], [4]]),
        (
            {
                "x": X,
                "begin": [1, 0],
                "end": [2, 0],
                "end_mask": [False, True],
                "squeeze_mask": [True, False],
            },
            [3, 4],
        ),
        (
            {
                "x": X,
                "begin": [0, 1],
                "end": [0, 0],
                "stride": [1, -1],
                "begin_mask": [True, True],
                "end_mask": [True, True],
            },
            [[2, 1], [4, 3]],
        ),
    ],
    "slice_by_size": [({"x": X, "begin": [0, 1], "size": [1, -1]}, [[2]])],
    "softmax": [({"x": np.log(np.float32([[1, 3]]))}, [0.25, 0.75])],
    "softplus": [
        ({"x": SIGNS}, [0.31326169, 0.69314718, 1.31326169, 2.126928])
    ],
    "softsign": [({"x": SIGNS}, [-0.5, 0, 0.5, 2 / 3])],
    "split": [
        ({"x": X, "axis": 1, "num_splits": 2}, [[[1], [3]], [[2], [4]]]),
        ({"x": X, "axis": 0, "split_sizes": [1, 1]}, [[[1, 2]], [[3, 4]]]),
    ],
    "sqrt": [({"x": X**2}, X)],
    "square": [({"x": SIGNS}, [1, 0, 1, 4])],
    "squeeze": [({"x": PICTURE, "axes": [0, 1]}, X), ({"x": PICTURE}, X)],
    "stack": [({"values": [SIGNS, SIGNS], "axis": 0}, [SIGNS, SIGNS])],
    "sub": [({"x": X, "y": 1}, [[0, 1], [2, 3]])],
    "tanh": [({"x": SIGNS}, [-0.76159416, 0, 0.76159416, 0.96402758])],
    "threshold": [({"x": SIGNS, "alpha": 0.5}, [0.5, 0.5, 1, 2])],
    "thresholded_relu": [({"x": SIGNS, "alpha": 1.5}, [0, 0, 0, 2])],
    "tile": [({"x": X, "reps": [1, 2]}, [[1, 2, 1, 2], [3, 4, 3, 4]])],
    "transpose": [({"x": X, "perm": [1, 0]}, [[1, 3], [2, 4]])],
    "upsample_bilinear": [
        (
            {
                "x": np.float32([0, 8]).reshape(1, 1, 1, 2),
                "scale_factor_width": 2,
                "align_corners": False,
            },
            [0, 2, 6, 8],
        ),
        (
            {
                "x": np.float32([0, 8]).reshape(1, 1, 1, 2),
                "scale_factor_width": 2,
                "align_corners": False,
                "half_pixel_centers": False,
            },
            [0, 4, 8, 8],
        ),
        (
            {
                "x": np.float32([0, 9]).reshape(1, 1, 1, 2),
                "scale_factor_width": 2,
            },
            [0, 3, 6, 9],
        ),
    ],
    "upsample_nearest_neighbor": [
        (
            {"x": PICTURE, "scale_factor_width": 2},
            [[1, 1, 2, 2], [3, 3, 4, 4]],
        )
    ],
}


def test_every_operation_has_a_case():
    assert set(CASES) == set(OPERATIONS)


@pytest.mark.parametrize("kind", CASES)
def test_operation(kind):
    for arguments, expected in CASES[kind]:
        result = np.asarray(OPERATIONS[kind](**arguments))
        expected = np.asarray(expected)
        # Leading axes of size 1 are left out above.
        missing = result.ndim - expected.ndim
        assert missing >= 0 and set(result.shape[:missing]) <= {1}
        expected = expected.reshape(result.shape)
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)


REFUSED = {
    "conv": {"x": PICTURE, "weight": ones(1, 1, 1, 1), "pad_type": "odd"},
    "conv_transpose": {
        "x": PICTURE,
        "weight": ones(1, 1, 1, 1),
        "dilations": [2, 2],
    },
    "gelu": {"x": X, "mode": "SIGMOID_APPROXIMATION"},
    "concat": {"values": [X, X], "axis": 0, "interleave": True},
    "upsample_nearest_neighbor": {"x": PICTURE, "scale_factor_width": 1.5},
    "max_pool": {
        "x": PICTURE,
        "kernel_sizes": [2, 2],
        "strides": [1, 1],
        "pad_type": "valid",
        "ceil_mode": True,
    },
}


@pytest.mark.parametrize("kind", REFUSED)
def test_arguments_that_are_not_known_are_refused(kind):
    with pytest.raises(ConversionError, match="not known|no whole number"):
        OPERATIONS[kind](**REFUSED[kind])
