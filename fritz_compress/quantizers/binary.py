"""Kernels and activations of one to eight bits.

The functions are those of `ops.binarization`; see there for their formulas,
gradients and papers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from fritz_compress.checks import check_one_of, check_positive
from fritz_compress.ops import binarization
from fritz_compress.ops.packing import check_nbits

MOST_BITS = 8


class BitQuantizer:
    """Base of quantizers that know their levels, made to be subclassed.

    Called with a tensor, one returns its levels in the same shape. A layer
    that has a kernel to quantize takes levels and scale apart, so that sums
    of levels stay whole numbers.

    Attributes:
        nbits: Bits that a level takes.
        seed_generator: What a random one draws from; `None` for others.
    """

    nbits: int = 1
    seed_generator: Any = None

    def __call__(self, values: Any, training: bool | None = None) -> Any:
        """The levels, floats in the shape of `values`.

        Args:
            values: Floats, a tensor of any shape.
            training: Whether this is training, for quantizers that then draw
                at random.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define `__call__(values, training)`, "
            "which returns levels in the shape of the values."
        )

    @property
    def is_sign(self) -> bool:
        """Whether the levels are -1 and 1."""
        return self.nbits == 1

    def levels_and_scale(
        self,
        kernel: Any,
        axes: Sequence[int] | None = None,
        training: bool | None = None,
    ) -> tuple[Any, Any]:
        """What a kernel is the product of; the scale is `None` for one.

        Args:
            kernel: A tensor, its filters along the last axis.
            axes: Axes that are within a filter; all but the last by default.
            training: As in a call.
        """
        return self(kernel, training=training), None

    def of_levels(self) -> "BitQuantizer":
        """A quantizer that leaves this one's levels as they are."""
        return self

    def get_config(self) -> dict[str, Any]:
        """Arguments to make it again with."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "BitQuantizer":
        """The quantizer of a `get_config`."""
        return cls(**config)


class _Clipped(BitQuantizer):
    """Those whose gradient ends at a value.

    Args:
        clip_value: From which magnitude on weights get no gradient; `None`
            for all of them. Defaults to 1.
    """

    def __init__(self, clip_value: float | None = 1.0):
        if clip_value is not None:
            check_positive("clip_value", clip_value)
        self.clip_value = clip_value

    def get_config(self):
        return {"clip_value": self.clip_value}


@keras.saving.register_keras_serializable("fritz_compress")
class SteSign(_Clipped):
    """1 and -1: BinaryConnect's kernels, and BinaryNet's activations.

    The gradient is that of a hard tanh (`ops.binarization.ste_sign`).

    Args:
        clip_value: From which magnitude on there is no gradient; `None` for
            a gradient everywhere. Defaults to 1.

    Raises:
        TypeError, ValueError: for a `clip_value` that is not above 0.

    Reference: Hubara et al., "Binarized Neural Networks",
    https://arxiv.org/abs/1602.02830, section 1.3.

    Example:

    >>> SteSign()(keras.ops.array([-0.3, 0.0, 2.0]))
    [-1.0, 1.0, 1.0]
    """

    def __call__(self, values, training=None):
        return binarization.ste_sign(values, self.clip_value)


@keras.saving.register_keras_serializable("fritz_compress")
class ApproxSign(BitQuantizer):
    """1 and -1 with a gradient of two lines: Bi-Real net's activations.

    Reference: Liu et al., "Bi-Real Net", https://arxiv.org/abs/1808.00278,
    section 3.2.
    """

    def __call__(self, values, training=None):
        return binarization.approx_sign(values)


@keras.saving.register_keras_serializable("fritz_compress")
class SwishSign(BitQuantizer):
    """1 and -1 with a gradient that is nowhere flat.

    Args:
        beta: How steep; defaults to 5.

    Raises:
        TypeError, ValueError: for a `beta` that is not above 0.

    Reference: Darabi et al., "BNN+", https://arxiv.org/abs/1812.11800,
    section 3.1.
    """

    def __init__(self, beta: float = 5.0):
        check_positive("beta", beta)
        self.beta = beta

    def __call__(self, values, training=None):
        return binarization.swish_sign(values, self.beta)

    def get_config(self):
        return {"beta": self.beta}


@keras.saving.register_keras_serializable("fritz_compress")
class StochasticSign(_Clipped):
    """1 or -1 at random in training, the nearer one with more probability.

    Outside of training it is a sign, so that what is deployed has one bit.
    (The paper tests networks that were trained so with the means of their
    signs: `clip(kernel / clip_value, -1, 1)` and no quantizer.)

    Where latent weights are much smaller than `clip_value`, signs are tosses
    of a coin, and nothing is learned. Choose one below the spread of the
    initial kernels, such as 0.02 for Glorot's.

    Args:
        clip_value: From which magnitude on a sign is certain, and has no
            gradient. Defaults to 1.
        seed: A whole number, for the same draws each time; by default that
            of `keras.utils.set_random_seed`, if it was called.

    Raises:
        TypeError, ValueError: for a `clip_value` that is not above 0.

    Reference: Courbariaux et al., "BinaryConnect",
    https://arxiv.org/abs/1511.00363, section 2.3.
    """

    def __init__(self, clip_value: float = 1.0, seed: int | None = None):
        check_positive("clip_value", clip_value)
        super().__init__(clip_value)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def __call__(self, values, training=None):
        if not training:
            return binarization.ste_sign(values, self.clip_value)
        return binarization.stochastic_sign(
            values, self.seed_generator, self.clip_value
        )

    def of_levels(self):
        return SteSign(self.clip_value)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("fritz_compress")
class MagnitudeAwareSign(_Clipped):
    """Signs times the mean magnitude of the filter: BWN's, XNOR-Net's kernels.

    The gradient is that of a hard tanh times the scale, in which none flows;
    XNOR-Net's own (section 3.1) adds `1 / n`, where `n` numbers make a
    filter. A filter of zeros gets no gradient.

    Args:
        clip_value: As of `SteSign`.

    Raises:
        TypeError, ValueError: for a `clip_value` that is not above 0.

    References: Rastegari et al., "XNOR-Net",
    https://arxiv.org/abs/1603.05279, section 3.1; Liu et al., "Bi-Real Net",
    https://arxiv.org/abs/1808.00278, section 3.3.

    Example: a filter in each column.

    >>> MagnitudeAwareSign()(keras.ops.array([[0.5, -2.0], [-1.5, 4.0]]))
    [[1.0, -3.0], [-1.0, 3.0]]
    """

    def __call__(self, values, training=None):
        levels, scale = self.levels_and_scale(values)
        return levels * scale

    def levels_and_scale(self, kernel, axes=None, training=None):
        signs = binarization.ste_sign(kernel, self.clip_value)
        return signs, binarization.magnitude(kernel, axes)

    def of_levels(self):
        return SteSign(self.clip_value)


@keras.saving.register_keras_serializable("fritz_compress")
class SteTern(_Clipped):
    """-1, 0 and 1, with the gradient of a hard tanh.

    Args:
        threshold: From which magnitude on a number is not 0; "mean" for 0.7
            times the mean magnitude of the tensor. Defaults to 0.05.
        clip_value: As of `SteSign`.

    Raises:
        TypeError, ValueError: for a number that is not above 0.

    Reference: Li et al., "Ternary Weight Networks",
    https://arxiv.org/abs/1605.04711, section 2.3.
    """

    nbits = 2

    def __init__(
        self, threshold: float | str = 0.05, clip_value: float | None = 1.0
    ):
        super().__init__(clip_value)
        if isinstance(threshold, str):
            check_one_of("threshold", threshold, ("mean",))
        else:
            check_positive("threshold", threshold)
        self.threshold = threshold

    def __call__(self, values, training=None):
        threshold = self.threshold
        if threshold == "mean":
            threshold = binarization.ternary_threshold(values)
        return binarization.ste_tern(values, threshold, self.clip_value)

    def of_levels(self):
        return SteTern(0.5, self.clip_value)

    def get_config(self):
        return {"threshold": self.threshold, **super().get_config()}


@keras.saving.register_keras_serializable("fritz_compress")
class DoReFa(BitQuantizer):
    """Evenly spaced numbers: of activations from 0 to 1, of weights -1 to 1.

    Activations of one bit are 0 and 1, those below 0 get no gradient. Weights
    of one bit are signs times the mean magnitude of the layer, as the paper
    has it (larq leaves the mean out); with more bits the largest weight of
    the layer is 1 or -1.

    Args:
        nbits: Bits of a number, 1 to 8. Defaults to 2.
        mode: "activations", the default, or "weights".

    Raises:
        ValueError: for other `nbits` or another mode.

    Reference: Zhou et al., "DoReFa-Net", https://arxiv.org/abs/1606.06160,
    sections 2.3 and 2.4.

    Example:

    >>> DoReFa(nbits=2)(keras.ops.array([-0.5, 0.3, 0.4, 9.0]))
    [0.0, 0.33333334, 0.33333334, 1.0]
    """

    def __init__(self, nbits: int = 2, mode: str = "activations"):
        check_nbits(nbits, MOST_BITS)
        check_one_of("mode", mode, ("activations", "weights"))
        self.nbits = int(nbits)
        self.mode = mode

    def __call__(self, values, training=None):
        if self.mode == "activations":
            return binarization.dorefa_activations(values, self.nbits)
        levels, scale = self.levels_and_scale(values)
        return levels if scale is None else levels * scale

    @property
    def is_sign(self):
        return self.nbits == 1 and self.mode == "weights"

    def levels_and_scale(self, kernel, axes=None, training=None):
        if self.mode == "activations":
            return self(kernel), None
        if self.nbits > 1:
            return binarization.dorefa_weights(kernel, self.nbits), None
        scale = binarization.magnitude(kernel, range(len(kernel.shape)))
        return binarization.unscaled_sign(kernel, scale, None), scale

    def of_levels(self):
        if self.mode == "activations":
            return self
        return SteSign() if self.nbits == 1 else EvenLevels(self.nbits)

    def get_config(self):
        return {"nbits": self.nbits, "mode": self.mode}


@keras.saving.register_keras_serializable("fritz_compress")
class EvenLevels(BitQuantizer):
    """Evenly spaced numbers from -1 to 1, which come back as they are.

    What `DoReFa` makes of weights stays as it is; `convert_to_binary` leaves
    layers with it. Numbers outside are clipped and get no gradient.

    Args:
        nbits: Bits of a number, 1 to 8. Defaults to 2.

    Raises:
        ValueError: for other `nbits`.
    """

    def __init__(self, nbits: int = 2):
        check_nbits(nbits, MOST_BITS)
        self.nbits = int(nbits)

    def __call__(self, values, training=None):
        return binarization.even_levels(ops.clip(values, -1, 1), self.nbits)

    def get_config(self):
        return {"nbits": self.nbits}
