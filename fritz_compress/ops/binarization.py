"""Signs and few levels in the forward pass, other gradients in the backward.

A sign has no gradient to learn by. Each function here computes a step and
takes the derivative of something smoother in its place. Tensors of Keras in
and out, on any backend. Gradients written `dq/dx` are what is multiplied with
the gradient that comes from above.

Courbariaux et al., "BinaryConnect", https://arxiv.org/abs/1511.00363;
Hubara et al., "Binarized Neural Networks", https://arxiv.org/abs/1602.02830,
section 1.3, for the clipped straight-through gradient.
"""

from collections.abc import Sequence
from typing import Any

from keras import ops, random

# How BinaryConnect tells a probability from a weight: no sigmoid of Keras'.
HALF = 0.5


def sign(x: Any) -> Any:
    """1 for zero and above, -1 below; its gradient is zero."""
    # The half lifts zeros. Faster than a choice between ones.
    return ops.sign(ops.sign(x) + HALF)


def ste_sign(x: Any, clip_value: float | None = 1.0) -> Any:
    """Sign with the gradient of a hard tanh ("straight-through").

        q(x) = 1 if x >= 0 else -1
        dq/dx = 1 if |x| <= clip_value else 0

    Args:
        x: A tensor of any shape.
        clip_value: Where the gradient ends; `None` for nowhere.
    """
    return _straight_through(sign, clip_value)(x)


def approx_sign(x: Any) -> Any:
    """Sign with the gradient of a piecewise polynomial.

        q(x) = 1 if x >= 0 else -1
        dq/dx = 2 - 2 |x| if |x| <= 1 else 0

    Liu et al., "Bi-Real Net", https://arxiv.org/abs/1808.00278, section 3.2.
    """

    def slope(x):
        return ops.maximum(2 - 2 * ops.abs(x), 0)

    return _with_slope(sign, slope)(x)


def swish_sign(x: Any, beta: float = 5.0) -> Any:
    """Sign with the gradient of a scaled and shifted swish.

        q(x) = 1 if x >= 0 else -1
        dq/dx = beta (2 - beta x tanh(beta x / 2)) / (1 + cosh(beta x))

    Darabi et al., "BNN+: Improved Binary Network Training",
    https://arxiv.org/abs/1812.11800, section 3.1.

    Args:
        x: A tensor of any shape.
        beta: How steep: the larger, the closer to a sign.
    """

    def slope(x):
        scaled = beta * x
        numerator = 2 - scaled * ops.tanh(scaled / 2)
        return beta * numerator / (1 + ops.cosh(scaled))

    return _with_slope(sign, slope)(x)


def stochastic_sign(x: Any, seed: Any, clip_value: float = 1.0) -> Any:
    """1 with the probability `clip((x / clip_value + 1) / 2, 0, 1)`, else -1.

    Its mean is a hard tanh; its gradient is that of `ste_sign`.

    Courbariaux et al., https://arxiv.org/abs/1511.00363, section 2.3.

    Args:
        x: A tensor of any shape.
        seed: A whole number, or a `keras.random.SeedGenerator`, which gives
            other signs at every call.
        clip_value: From which magnitude on a sign is certain, and has no
            gradient.
    """
    drawn = random.uniform(ops.shape(x), dtype=x.dtype, seed=seed)

    def draw(x):
        # `drawn` is below 1 and may be 0: at the clip value, -1 is never
        # drawn, and at minus that value 1 is not.
        one = ops.ones_like(x)
        return ops.where(drawn < HALF * (x / clip_value + 1), one, -one)

    return _straight_through(draw, clip_value)(x)


def magnitude(x: Any, axes: Sequence[int] | None = None) -> Any:
    """The mean of `|x|` over axes that stay with length 1.

    With the signs it is the nearest scaled kernel in squared error: Rastegari
    et al., "XNOR-Net", https://arxiv.org/abs/1603.05279, equation 6. No
    gradient flows through it.

    Args:
        x: A tensor; of a kernel the filters are along the last axis.
        axes: All but the last by default.
    """
    if axes is None:
        axes = range(len(x.shape) - 1)
    magnitudes = ops.abs(ops.stop_gradient(x))
    return ops.mean(magnitudes, axis=tuple(axes), keepdims=True)


def unscaled_sign(x: Any, scale: Any, clip_value: float | None = 1.0) -> Any:
    """Signs that will be multiplied by a scale which `x` is not to feel.

    `scale * unscaled_sign(x, scale)` has the values of `scale * sign(x)` and
    the gradient of `ste_sign(x)`: the magnitudes of a kernel are the
    consequence of its weights, not a reason to move some of them slower.

    Args:
        x: A tensor of any shape.
        scale: What its signs will be multiplied by; broadcasts to `x`.
        clip_value: Where the gradient ends; `None` for nowhere.
    """

    def divided(x, scale):
        return _inside(x, clip_value) / ops.where(scale > 0, scale, 1)

    return _with_slope(lambda x, scale: sign(x), divided)(x, scale)


def ste_tern(
    x: Any, threshold: Any = 0.05, clip_value: float | None = 1.0
) -> Any:
    """-1, 0 or 1, with the gradient of a hard tanh.

        q(x) = 1 if x >= threshold, -1 if x <= -threshold, else 0
        dq/dx = 1 if |x| <= clip_value else 0

    Li et al., "Ternary Weight Networks", https://arxiv.org/abs/1605.04711.

    Args:
        x: A tensor of any shape.
        threshold: A number above 0; see `ternary_threshold`.
        clip_value: Where the gradient ends; `None` for nowhere.
    """

    def ternary(x):
        above, below = x >= threshold, x <= -threshold
        return ops.cast(above, x.dtype) - ops.cast(below, x.dtype)

    return _straight_through(ternary, clip_value)(x)


def ternary_threshold(kernel: Any) -> Any:
    """0.7 times the mean of `|kernel|`, nearly the best for normal weights.

    Li et al., https://arxiv.org/abs/1605.04711, equation 6.
    """
    return ops.stop_gradient(0.7 * ops.mean(ops.abs(kernel)))


def dorefa_activations(x: Any, nbits: int) -> Any:
    """The nearest of `2**nbits` evenly spaced numbers from 0 to 1.

        q(x) = round(n clip(x, 0, 1)) / n,  n = 2**nbits - 1
        dq/dx = 1 if 0 <= x <= 1 else 0

    Halves are rounded to the even one.

    Zhou et al., "DoReFa-Net", https://arxiv.org/abs/1606.06160, equations 5
    and 11.

    Args:
        x: A tensor of any shape.
        nbits: Bits of a number, 1 to 8.
    """
    top = 2**nbits - 1

    def slope(x):
        return ops.cast(ops.logical_and(x >= 0, x <= 1), x.dtype)

    return _with_slope(
        lambda x: ops.round(top * ops.clip(x, 0, 1)) / top, slope
    )(x)


def dorefa_weights(x: Any, nbits: int) -> Any:
    """The nearest of `2**nbits` evenly spaced numbers from -1 to 1.

        t = tanh(x) / (2 max|tanh(x)|) + 1/2
        q(x) = 2 round(n t) / n - 1,  n = 2**nbits - 1
        dq/dx = (1 - tanh(x)^2) / max|tanh(x)|

    The largest weight is 1 or -1; none is 0. The maximum, over all of `x`,
    has no gradient, and all zeros become the level just below zero or above.

    Zhou et al., https://arxiv.org/abs/1606.06160, equation 9.

    Args:
        x: A tensor of any shape.
        nbits: Bits of a number, 2 to 8.
    """
    limited = ops.tanh(x)
    largest = ops.stop_gradient(ops.max(ops.abs(limited)))
    return even_levels(limited / ops.where(largest > 0, largest, 1), nbits)


def even_levels(x: Any, nbits: int) -> Any:
    """The nearest of `2**nbits` evenly spaced numbers from -1 to 1.

    Levels come back as they are, bit by bit. The gradient is that of `x`.

    Args:
        x: A tensor with values from -1 to 1.
        nbits: Bits of a number.
    """
    top = 2**nbits - 1
    return _straight_through(
        lambda x: 2 * (ops.round(top * (x / 2 + HALF)) / top) - 1, None
    )(x)


def _straight_through(function, clip_value):
    """A function with the gradient of `x`, within the clip value."""
    return _with_slope(function, lambda x: _inside(x, clip_value))


def _inside(x, clip_value):
    if clip_value is None:
        return ops.ones_like(x)
    return ops.cast(ops.abs(x) <= clip_value, x.dtype)


def _with_slope(function, slope):
    """A function whose derivative by its first argument is another one."""

    @ops.custom_gradient
    def call(x, *others):
        def gradient(*args, upstream=None):
            if upstream is None:
                (upstream,) = args
            own = upstream * slope(x, *others)
            zeros = tuple(ops.zeros_like(other) for other in others)
            return (own, *zeros) if others else own

        return function(x, *others), gradient

    return call
