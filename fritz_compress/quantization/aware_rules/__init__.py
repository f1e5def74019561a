"""How each kind of layer is written with integers.

A rule is called as `rule(builder, chain, *args, **kwargs)` with what the first
call of the chain was called with, a `Value` in place of each tensor. It
returns the `Value` that the last call makes, or a list of them.
"""

from collections.abc import Callable

import keras

from fritz_compress import graph
from fritz_compress.quantization.aware_chains import (
    Chain,
    is_batch_normalization,
)
from fritz_compress.quantization.aware_rules import (
    activations,
    combining,
    moving,
    weighted,
)

LAYERS: dict[type, Callable] = {
    **weighted.LAYERS,
    **activations.LAYERS,
    **combining.LAYERS,
    **moving.AVERAGING,
}
OPERATIONS: dict[str, Callable] = {
    **activations.OPERATIONS,
    **combining.OPERATIONS,
}


def rule_of(chain: Chain) -> Callable | None:
    """The rule of a chain, `None` if there is none."""
    node = chain.first
    if keeps_values(node):
        return moving.move
    if is_batch_normalization(node):
        return weighted.normalization
    if isinstance(node.operation, keras.Layer):
        return LAYERS.get(type(node.operation))
    return OPERATIONS.get(node.kind)


def keeps_values(node: graph.Node) -> bool:
    """Whether a call only moves numbers, or picks some of them."""
    return moving.keeps_values(node)
