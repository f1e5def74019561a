"""What each kind of layer computes: one small rule per kind.

A multiplication is a product or a quotient of two numbers at inference, one of
which at least depends on the input. What depends on weights alone, such as
`gamma / sqrt(variance)`, is computed once and does not count, and functions
(exp, sqrt, tanh, sigmoid) are no products. A multiplication whose product is
added to others is a multiply-accumulate (MAC): those of convolutions, dense
layers, products of matrices, recurrent layers and attention. A product of two
signs is none of these, but a binary MAC.
"""

from fritz_compress.costs import (
    activations,
    attention,
    binary,
    convolution,
    elementwise,
    free,
    normalization,
    products,
    quantized,
    recurrent,
)
from fritz_compress.costs.calls import Size, macs_of, sized_graph
from fritz_compress.costs.registration import register_cost
from fritz_compress.costs.table import Call, Cost, cost_of, find_rule

__all__ = [
    "Call",
    "Cost",
    "Size",
    "activations",
    "attention",
    "binary",
    "convolution",
    "cost_of",
    "elementwise",
    "find_rule",
    "free",
    "macs_of",
    "normalization",
    "products",
    "quantized",
    "recurrent",
    "register_cost",
    "sized_graph",
]
