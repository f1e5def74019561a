"""Layers with kernels or inputs of few bits: they keep their channels."""

from fritz_compress.layers import (
    BinaryConv2D,
    BinaryDense,
    BinaryDepthwiseConv2D,
    XnorConv2D,
    XnorDense,
)
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.rules.table import rule
from fritz_compress.surgery.values import Value


@rule(BinaryConv2D, BinaryDense, BinaryDepthwiseConv2D, XnorConv2D, XnorDense)
def binary(call: Call) -> list[Value]:
    """The sign of zero is 1, so neither filters nor inputs of zeros are gone.

    And scales are means of magnitudes, over a filter, all channels or all of
    a kernel, which would change with fewer of them.
    """
    raise Whole(
        "computes with few bits, where a zero is a sign or a level like others "
        "(prune before `binarize`)"
    )
