"""Quantizers of few bits as Core ML layers.

The comparisons and the rounding of Core ML came with iOS 13, and a network
that has one of them must not have the rank 5 mapping of this package. So all
steps are made of hard sigmoids, `min(max(a x + b, 0), 1)`, which iOS 12 knows:
they are exact, in float16 too.
"""

from fritz_compress import quantizers
from fritz_compress.convert.errors import ConversionError
from fritz_compress.convert.neural_network_rules.normalization import (
    add_linear,
)

# The largest power of two in float16, and how many times it is multiplied by:
# numbers of magnitude 2**-45 and above come out as 0 or 1. The differences of
# two float32 numbers of which one is above 2**-21 are 0 or larger than that.
STEEP, STAGES = 2.0**15, 3


def add_quantizer(writer, quantizer, layer, source, target) -> None:
    """Writes what a quantizer makes of activations when a network is used.

    Args:
        writer: The network under construction.
        quantizer: A `quantizers.BitQuantizer`.
        layer: Name of the Keras layer, for the error.
        source, target: Blobs to read and to make.

    Raises:
        ConversionError: for a quantizer whose levels depend on all numbers of
            a batch, or of another class.
    """
    rule = RULES.get(type(quantizer))
    # The levels of some depend on all numbers of the tensor.
    of_weights = getattr(quantizer, "mode", "") == "weights"
    of_mean = getattr(quantizer, "threshold", "") == "mean"
    if rule is None or of_weights or of_mean:
        name = type(quantizer).__name__
        arguments = ", ".join(
            f"{key}={value!r}" for key, value in quantizer.get_config().items()
        )
        raise ConversionError(
            f"Layer '{layer}': activations quantized by {name}({arguments}) "
            "have no counterpart in a Core ML neural network that this "
            "package knows. Use 'ste_sign', SteTern() or DoReFa(nbits), or "
            "write a .mlpackage."
        )
    rule(writer, quantizer, source, target)


def _sign(writer, quantizer, source, target):
    """`1 - 2 [-x > 0]`."""
    negative = _above_zero(writer, source, -STEEP)
    add_linear(writer, -2, 1, negative, target)


def _dorefa(writer, quantizer, source, target):
    """Clipped to [0, 1], multiplied, rounded, divided."""
    clipped = _limited(writer, source, 1, 0)
    code = _minus_code(writer, clipped, quantizer.nbits)
    add_linear(writer, -1 / _top(quantizer), 0, code, target)


def _even_levels(writer, quantizer, source, target):
    """As DoReFa's, of `x / 2 + 1 / 2`."""
    clipped = _limited(writer, source, 0.5, 0.5)
    code = _minus_code(writer, clipped, quantizer.nbits)
    add_linear(writer, -2 / _top(quantizer), -1, code, target)


def _ternary(writer, quantizer, source, target):
    """`[x >= t] - [x <= -t]` as `[x + t > 0] - [t - x > 0]`."""
    above = _above_zero(writer, _line(writer, source, 1, quantizer.threshold))
    below = _above_zero(writer, _line(writer, source, -1, quantizer.threshold))
    _add(writer, [above, _line(writer, below, -1, 0)], target)


RULES = {
    quantizers.ApproxSign: _sign,
    quantizers.DoReFa: _dorefa,
    quantizers.EvenLevels: _even_levels,
    quantizers.SteSign: _sign,
    quantizers.SteTern: _ternary,
    quantizers.StochasticSign: _sign,
    quantizers.SwishSign: _sign,
}


def _minus_code(writer, source, nbits):
    """The nearest of `n = 2**nbits - 1` times a number in [0, 1], negative.

    Bit by bit, from the highest. What is half a step below a higher bit is
    rounded up to it, and half a step above it down: to the even code.
    """
    rest, bits = _line(writer, source, 2**nbits - 1, 0), []
    for bit in reversed(range(1, nbits)):
        missing = _line(writer, rest, -1, 2**bit - 0.5)
        below = _above_zero(writer, missing)
        bits.append(_line(writer, below, 2**bit, -(2**bit)))
        rest = _add(writer, [rest, bits[-1]], writer.blob())
    last = _above_zero(writer, _line(writer, rest, 1, -0.5))
    bits.append(_line(writer, last, -1, 0))
    return _add(writer, bits, writer.blob()) if nbits > 1 else bits[0]


def _above_zero(writer, source, slope=STEEP):
    """1 where `slope * x` is above zero, else 0."""
    for factor in (slope, *[STEEP] * (STAGES - 1)):
        source = _limited(writer, source, factor, 0)
    return source


def _limited(writer, source, scale, offset):
    """`scale * x + offset`, clipped to [0, 1]."""
    target = writer.blob()
    writer.builder.add_activation(
        writer.layer(), "SIGMOID_HARD", source, target, [scale, offset]
    )
    return target


def _line(writer, source, scale, offset):
    target = writer.blob()
    add_linear(writer, scale, offset, source, target)
    return target


def _add(writer, sources, target):
    writer.builder.add_elementwise(writer.layer(), sources, target, "ADD")
    return target


def _top(quantizer):
    return 2**quantizer.nbits - 1
