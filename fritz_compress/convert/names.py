"""Short names for what is inside a file."""

import string
from collections.abc import Collection, Iterator
from typing import Any


def short_names(taken: Collection[str] = ()) -> Iterator[str]:
    """a, b, ..., z, a0, b0, ..., z0, a1, ... without end.

    Identifiers in every format, and never a reserved word.

    Args:
        taken: Names to leave out.

    >>> names = short_names(taken=["b"])
    >>> next(names), next(names)
    ('a', 'c')
    """
    yield from (n for n in string.ascii_lowercase if n not in taken)
    number = 0
    while True:
        for letter in string.ascii_lowercase:
            if (name := f"{letter}{number}") not in taken:
                yield name
        number += 1


def shorten_names(program: Any) -> None:
    """Gives the values inside a MIL program names of a letter or two.

    They take more space than the weights of a small network. Inputs and
    outputs keep theirs.

    Args:
        program: `coremltools.proto.MIL_pb2.Program`, changed in place.
    """
    for function in program.functions.values():
        blocks = function.block_specializations.values()
        ends = [value.name for value in function.inputs]
        ends += [name for block in blocks for name in block.outputs]
        free = short_names(taken=ends)
        for block in blocks:
            _shorten_block(block, {name: name for name in ends}, free)


def _shorten_block(block, names, free):
    """Renames values where they are made, then where they are read."""
    for value in block.inputs:
        value.name = names.setdefault(value.name, next(free))
    for operation in block.operations:
        for argument in operation.inputs.values():
            for binding in argument.arguments:
                if binding.HasField("name"):
                    binding.name = names[binding.name]
        for inner in operation.blocks:
            _shorten_block(inner, dict(names), free)
        for value in operation.outputs:
            if value.name not in names:
                names[value.name] = next(free)
            value.name = names[value.name]
        if "name" in operation.attributes:
            text = operation.attributes["name"].immediateValue.tensor.strings
            text.values[0] = operation.outputs[0].name
    block.outputs[:] = [names[name] for name in block.outputs]
