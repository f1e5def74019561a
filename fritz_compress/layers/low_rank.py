import math
from typing import Any

import keras
from keras import ops

from fritz_compress.checks import check_count

FLOATS = "float32"  # What Fourier transforms are computed in.


@keras.saving.register_keras_serializable("fritz_compress")
class ToeplitzLikeDense(keras.layers.Layer):
    """Dense layer whose kernel is a sum of products of two circulants.

    Computes `activation(x @ kernel + bias)` with a kernel that is never there:
    with `n = max(inputs, units)`, its transpose is the upper left part of

        sum(Z(left[i], 1) @ Z(right[i], -1) for i in range(displacement_rank))

    where `Z(v, 1)` is the circulant and `Z(v, -1)` the skew-circulant matrix
    of first column `v`. Such a matrix has a low displacement rank: 2 is enough
    for every Toeplitz matrix, that is for every convolution, and its inverse.
    The layer stores `2 * displacement_rank * n` weights in place of `inputs *
    units`, and multiplies by fast Fourier transforms, in the order of
    `displacement_rank * n * log(n)` steps. Inputs are padded with zeros to `n`
    numbers, outputs cropped to `units`.

    Core ML and TFLite have no inverse transform: `convert.to_tflite` and
    `convert.to_coreml` write `to_dense()` in its place, whose file is as
    large, and as fast, as that of any dense layer. Half precision is computed
    in float32.

    Args:
        units: Output features, at least 1.
        displacement_rank: How many products are summed, at least 1. At `n`
            the kernel can be any matrix.
        activation: As of `keras.layers.Dense`.
        use_bias: Whether to add a bias.
        seed: Seed of the generators' initial values, which are normal and
            give kernels of the variance of `"glorot_uniform"`.
        generator_regularizer: Regularizer of both `left` and `right`.
        bias_initializer, bias_regularizer: As of `keras.layers.Dense`.
        **kwargs: `keras.layers.Layer` arguments such as `name` and `dtype`.

    Input shape: `(batch, ..., inputs)`; `inputs` must be known.
    Output shape: `(batch, ..., units)`.

    Raises:
        TypeError, ValueError: on construction if `units` or
            `displacement_rank` is no whole number of at least 1; on build if
            the last axis of the input is not known.

    Reference: Sindhwani, Sainath and Kumar, "Structured transforms for
    small-footprint deep learning", https://arxiv.org/abs/1510.01722, section
    3, equation 8.

    Example: 8,192 weights and a bias in place of 1,048,576.

    >>> layer = ToeplitzLikeDense(1024, displacement_rank=4)
    >>> layer(keras.ops.ones((2, 1024))).shape
    (2, 1024)
    >>> layer.count_params()
    9216
    """

    def __init__(
        self,
        units: int,
        displacement_rank: int,
        activation: Any = None,
        use_bias: bool = True,
        seed: int | None = None,
        generator_regularizer: Any = None,
        bias_initializer: Any = "zeros",
        bias_regularizer: Any = None,
        **kwargs,
    ):
        check_count("units", units)
        check_count("displacement_rank", displacement_rank)
        super().__init__(**kwargs)
        self.units = units
        self.displacement_rank = displacement_rank
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.seed = seed
        self.generator_regularizer = keras.regularizers.get(
            generator_regularizer
        )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)

    def build(self, input_shape):
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(
                f"Layer '{self.name}' needs a known last axis. Received: "
                f"input_shape={tuple(input_shape)}."
            )
        self.inputs = inputs
        self.size = max(inputs, self.units)
        self.left, self.right = (
            self.add_weight(
                name=name,
                shape=(self.displacement_rank, self.size),
                initializer=self._generators(seed),
                regularizer=self.generator_regularizer,
                autocast=False,
            )
            for name, seed in zip(("left", "right"), self._seeds())
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )

    def call(self, inputs):
        outputs = ops.cast(self._multiplied(inputs), self.compute_dtype)
        if self.bias is not None:
            outputs = outputs + self.bias
        return self.activation(outputs)

    def dense_kernel(self) -> Any:
        """The kernel as a tensor of shape `(inputs, units)`."""
        return self._multiplied(ops.eye(self.inputs, dtype=FLOATS))

    def to_dense(self) -> keras.layers.Dense:
        """A dense layer of the same name that computes the same."""
        layer = keras.layers.Dense(
            self.units,
            self.activation,
            self.use_bias,
            dtype=self.dtype_policy,
            name=self.name,
            trainable=self.trainable,
        )
        layer.build((None, self.inputs))
        layer.kernel.assign(self.dense_kernel())
        if self.use_bias:
            layer.bias.assign(self.bias)
        return layer

    def _multiplied(self, inputs):
        """`inputs @ kernel` by Fourier transforms."""
        size, double = self.size, 2 * self.size
        spectrum = ops.rfft(ops.cast(inputs, FLOATS), double)
        spectrum = [ops.expand_dims(part, -2) for part in spectrum]
        wide = ops.irfft(
            _product(spectrum, ops.rfft(self.right, double)), double
        )
        # What comes out at the far end comes in again with another sign.
        turned = wide[..., :size] - wide[..., size:]
        products = _product(ops.rfft(turned, size), ops.rfft(self.left, size))
        total = tuple(ops.sum(part, -2) for part in products)
        return ops.irfft(total, size)[..., : self.units]

    def _seeds(self):
        """One per side; two layers of one seed are equal, their sides not."""
        if self.seed is None:
            return None, None
        return self.seed, self.seed + 1

    def _generators(self, seed):
        """An entry of the kernel is a sum of `rank * size` products."""
        variance = 2 / (self.inputs + self.units)
        products = self.displacement_rank * self.size
        return keras.initializers.RandomNormal(
            stddev=math.sqrt(math.sqrt(variance / products)), seed=seed
        )

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "displacement_rank": self.displacement_rank,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "seed": self.seed,
            "generator_regularizer": keras.regularizers.serialize(
                self.generator_regularizer
            ),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
            "bias_regularizer": keras.regularizers.serialize(
                self.bias_regularizer
            ),
        }


def _product(one, other):
    """Product of complex numbers, each given by real and imaginary part."""
    (a, b), (c, d) = one, other
    return a * c - b * d, a * d + b * c
