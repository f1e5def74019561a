"""Layers and operations that multiply matrices."""

from keras import layers, ops

from fritz_compress.graph import Tensor
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.rules.activations import (
    activated,
    is_elementwise,
    keeps_zero,
)
from fritz_compress.surgery.rules.contraction import Term, contract
from fritz_compress.surgery.rules.table import rule
from fritz_compress.surgery.values import Value


@rule(layers.Dense)
def dense(call: Call) -> list[Value]:
    """Reads the last axis; all others are copies of it side by side."""
    made = call.produce(call.operation.units)
    call.weight("kernel", reads={0: call.read()}, makes={1: made})
    call.weight("bias", makes={0: made})
    call.configure("units", made)
    passing = _biased(call, call.passing(-1))
    return [call.output({**passing, -1: activated(call, made)[0]})]


@rule(layers.EinsumDense)
def einsum_dense(call: Call) -> list[Value]:
    layer = call.operation
    inputs, kernel, output = spelled(layer.equation, len(call.shape()))
    made = {
        letter: call.produce(layer.kernel.shape[kernel.index(letter)], part)
        for letter, part in _parts(inputs, kernel, output).items()
    }
    strands = contract(call, [Term(inputs, call.node.inputs[0])], output)
    reads, makes = {}, {}
    for axis, letter in enumerate(kernel):
        if letter in made:
            makes[axis] = made[letter]
        else:
            # One in all three makes its channels, as a depthwise kernel does.
            kind = makes if letter in output else reads
            kind[axis] = call.channels(inputs.index(letter))
    call.weight("kernel", reads, makes)
    strands = _biased(call, strands)
    for letter, strand in zip(made, activated(call, *made.values())):
        strands[output.index(letter)] = strand
    _bias(call, output, strands)
    _output_shape(call, strands, len(output))
    return [call.output(strands)]


@rule("Matmul")
def matmul(call: Call) -> list[Value]:
    """`keras.ops.matmul`, of two tensors or of a tensor and a constant."""
    operands = [call.arguments[name] for name in ("x1", "x2")]
    ranks = [len(operand.shape) for operand in operands]
    if min(ranks) < 2:
        raise Whole("multiplies a vector")
    batch = "abcdefgh"[: max(ranks) - 2]
    first, second = (batch[len(batch) - rank + 2 :] for rank in ranks)
    terms = _terms([first + "ij", second + "jk"], operands)
    return [call.output(contract(call, terms, batch + "ik"))]


@rule("Einsum")
def einsum(call: Call) -> list[Value]:
    subscripts = call.operation.subscripts.replace(" ", "")
    if "." in subscripts or "->" not in subscripts:
        raise Whole("has an equation without all of its letters")
    inputs, output = subscripts.split("->")
    if any(len(set(term)) < len(term) for term in inputs.split(",")):
        raise Whole("takes a diagonal")
    terms = _terms(inputs.split(","), call.arguments["operands"])
    return [call.output(contract(call, terms, output))]


@rule(layers.Dot)
def dot(call: Call) -> list[Value]:
    layer = call.operation
    if layer.normalize:
        raise Whole("normalizes over the axis it sums")
    ranks = [len(call.shape(0)), len(call.shape(1))]
    axes = (layer.axes,) * 2 if isinstance(layer.axes, int) else layer.axes
    first, second = list("abcdefgh"[: ranks[0]]), list("aijklmno"[: ranks[1]])
    second[axes[1]] = first[axes[0]]
    common = first[axes[0]]
    output = [x for x in (*first, *second[1:]) if x != common]
    terms = _terms(["".join(first), "".join(second)], call.node.inputs)
    return [call.output(contract(call, terms, "".join(output)))]


@rule(layers.Attention)
def attention(call: Call) -> list[Value]:
    """Dot-product attention without weights: queries meet keys."""
    layer = call.operation
    if layer.score_mode != "dot" or len(call.node.outputs) > 1:
        raise Whole("mixes channels in another way than by a dot product")
    query, value, *key = call.arguments["inputs"]
    operands = [query, *(key or [value])]
    if not all(isinstance(x, Tensor) for x in (value, *operands)):
        raise Whole("attends to a constant")
    contract(call, _terms(["btc", "bsc"], operands), "bts")
    for tensor in (value, *operands):
        call.only(-1, index=tensor)
    call.weight("scale", reads={})
    return [call.output({-1: call.strand(-1, value)})]


def spelled(equation: str, rank: int) -> tuple[str, str, str]:
    """Letters of input, kernel and output, those of an ellipsis included."""
    left, output = equation.replace(" ", "").split("->")
    inputs, kernel = left.split(",")
    unused = [x for x in "ABCDEFGHIJKLMNOP" if x not in equation]
    missing = "".join(unused[: rank - len(inputs.replace("...", ""))])
    return (
        inputs.replace("...", missing),
        kernel,
        output.replace("...", missing),
    )


def _parts(inputs, kernel, output):
    """Letters of new channels, with the names that tell them apart."""
    made = [x for x in kernel if x in output and x not in inputs]
    return {x: x if len(made) > 1 else "" for x in made}


def _terms(letters, operands):
    return [
        (
            Term(each, operand)
            if isinstance(operand, Tensor)
            else Term(each, None, ops.convert_to_numpy(operand))
        )
        for each, operand in zip(letters, operands, strict=True)
    ]


def _biased(call, strands):
    """Channels that pass by are zero no longer after bias and activation."""
    layer = call.operation
    if not is_elementwise(layer.activation):
        for strand in strands.values():
            call.freeze(strand.labels, "may mix them in its activation")
    if layer.bias is None and keeps_zero(layer.activation):
        return strands
    return {a: s.revived_by(call.number) for a, s in strands.items()}


def _bias(call, output, strands):
    layer = call.operation
    if layer.bias is None:
        return
    shift = len(output) - len(layer.bias.shape)
    call.weight(
        "bias",
        makes={
            axis - shift: strand.labels
            for axis, strand in strands.items()
            if output[axis] in layer.bias_axes
        },
    )


def _output_shape(call, strands, rank):
    """The configuration lists the last sizes of the output."""
    sizes = call.operation.partial_output_shape
    for axis, strand in strands.items():
        index = axis - rank
        if -index <= len(sizes) and sizes[index] is not None:
            call.configure(("output_shape", index), strand.labels)
