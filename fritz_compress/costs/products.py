"""Dense layers and products of matrices."""

import itertools
import math
import string
from collections.abc import Sequence

import numpy as np
from keras import layers

from fritz_compress.costs.activations import activated
from fritz_compress.costs.table import FREE, Call, Cost, rule
from fritz_compress.layers import ToeplitzLikeDense
from fritz_compress.ops.displacement import multiplications


@rule(layers.Dense)
def dense(call: Call) -> Cost:
    """Every output number reads all channels."""
    cost = Cost(call.outputs * call.shape[-1])
    return cost + activated(call, call.operation.activation, call.outputs)


@rule(layers.EinsumDense)
def einsum_dense(call: Call) -> Cost:
    layer = call.operation
    cost = contraction(layer.equation, [call.shape, tuple(layer.kernel.shape)])
    return cost + activated(call, layer.activation, call.outputs)


@rule(ToeplitzLikeDense)
def toeplitz_like_dense(call: Call) -> Cost:
    """Fourier transforms of each vector, whose products are summed up."""
    layer, vectors = call.operation, call.outputs // call.output_shape[-1]
    steps = multiplications(layer.size, layer.displacement_rank)
    cost = Cost(vectors * int(steps))
    return cost + activated(call, layer.activation, call.outputs)


@rule(layers.Embedding)
def embedding(call: Call) -> Cost:
    """Rows are looked up."""
    return FREE


@rule(layers.ReversibleEmbedding)
def reversible_embedding(call: Call) -> Cost:
    """Backwards a dense layer to the whole vocabulary."""
    if not call.arguments.get("reverse", False):
        return FREE
    capped = call.operation.logit_soft_cap is not None
    return Cost(call.outputs * call.shape[-1], 2 * call.outputs * capped)


@rule(layers.Dot)
def dot(call: Call) -> Cost:
    """Sums over one axis; `normalize` squares and scales both inputs first."""
    first, second = (call.known(x.shape) for x in call.node.inputs)
    axes = call.operation.axes
    axis = axes if isinstance(axes, int) else axes[0]
    others = 0
    if call.operation.normalize:
        others = 2 * (math.prod(first) + math.prod(second))
    return Cost(call.outputs * first[axis], others)


@rule("Matmul")
def matmul(call: Call) -> Cost:
    return Cost(call.outputs * call.argument("x1")[-1])


@rule("Dot", "Inner")
def inner(call: Call) -> Cost:
    """With a number in place of an array it only multiplies."""
    first, second = call.argument("x1"), call.argument("x2")
    if not first or not second:
        return Cost(others=call.outputs)
    return Cost(call.outputs * first[-1])


@rule("Vdot")
def vdot(call: Call) -> Cost:
    return Cost(call.inputs)


@rule("Outer", "Kron")
def outer(call: Call) -> Cost:
    return Cost(others=call.outputs)


@rule("Tensordot")
def tensordot(call: Call) -> Cost:
    axes = call.operation.axes
    first = call.argument("x1")
    if isinstance(axes, int):
        summed = math.prod(first[len(first) - axes :])
    else:
        summed = math.prod(first[axis] for axis in np.atleast_1d(axes[0]))
    return Cost(call.outputs * summed)


@rule("Einsum")
def einsum(call: Call) -> Cost:
    operands = call.arguments["operands"]
    shapes = [call.known(operand.shape) for operand in operands]
    return contraction(call.operation.subscripts, shapes)


def contraction(equation: str, shapes: Sequence[tuple[int, ...]]) -> Cost:
    """Cost of an `einsum`, in the order that multiplies least.

    Args:
        equation: Such as `"...ab,bc->...ac"`.
        shapes: One per operand.
    """
    terms, output = _spelled(equation, [len(shape) for shape in shapes])
    sizes: dict[str, int] = {}
    for letter, size in zip("".join(terms), itertools.chain(*shapes)):
        sizes[letter] = max(size, sizes.get(letter, 1))  # 1 is broadcast.
    cost = FREE
    for places in _order(f"{','.join(terms)}->{output}", shapes):
        taken = [terms.pop(place) for place in sorted(places, reverse=True)]
        letters = set("".join(taken))
        kept = letters & set("".join([*terms, output]))
        terms.append("".join(sorted(kept)))
        products = (len(taken) - 1) * math.prod(sizes[x] for x in letters)
        cost += Cost(products, 0) if kept < letters else Cost(0, products)
    return cost


def _order(equation, shapes):
    """Which operands to take together; what they make comes last."""
    operands = [np.broadcast_to(np.float32(0), shape) for shape in shapes]
    return np.einsum_path(equation, *operands, optimize="optimal")[0][1:]


def _spelled(equation, ranks):
    """The terms and the output with letters for all of their axes."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    unused = [x for x in string.ascii_letters if x not in equation]
    missing = [
        rank - len(term.replace("...", "")) if "..." in term else 0
        for term, rank in zip(terms, ranks, strict=True)
    ]
    spare = "".join(unused[: max(missing)])
    terms = [
        term.replace("...", spare[len(spare) - count :])
        for term, count in zip(terms, missing)
    ]
    if not arrow:
        letters = sorted(left.replace("...", "").replace(",", ""))
        output = "..." + "".join(x for x in letters if letters.count(x) == 1)
    return terms, output.replace("...", spare)
