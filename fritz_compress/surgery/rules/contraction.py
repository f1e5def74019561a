"""Products summed over axes, written as in `einsum`."""

import dataclasses

import numpy as np

from fritz_compress.graph import Tensor
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.rules.rewriting import cut_arguments
from fritz_compress.surgery.values import Strand


@dataclasses.dataclass(frozen=True, eq=False)
class Term:
    """One factor.

    Attributes:
        letters: A letter per axis.
        tensor: The input; `None` for a constant.
        constant: Its value.
    """

    letters: str
    tensor: Tensor | None
    constant: np.ndarray | None = None


def contract(call: Call, terms: list[Term], output: str) -> dict[int, Strand]:
    """Labels of a sum of products; axes with one letter are tied.

    A zero channel adds nothing to a sum and makes a product zero, so that
    nothing is lost where all factors lose the same channels. Constants are
    cut along.

    Args:
        call: The call; its operation reads the axes that are summed over.
        terms: The factors.
        output: Letters of the result.

    Returns: the result's labels by axis, of those that the terms determine.
    """
    strands, cuts = {}, {}
    for letter in dict.fromkeys("".join(term.letters for term in terms)):
        strand = _common(call, terms, letter)
        if strand is None:
            continue
        if letter not in output:
            call.reads(strand)
        else:
            strands[output.index(letter)] = strand
        cuts[letter] = strand.labels
    _cut_constants(call, terms, cuts)
    return strands


def _common(call, terms, letter):
    """Channels along the axes of one letter, `None` if they all stay."""
    found, stays = [], []
    for term in terms:
        if letter not in term.letters or term.tensor is None:
            continue
        axis, value = term.letters.index(letter), call.input(term.tensor)
        if axis in value.strands:
            found.append(value.strands[axis])
        else:
            stays.append(value.stays)
    if not found:
        return None
    labels = found[0].labels
    for strand in found[1:]:
        if len(strand.labels) != len(labels):
            call.freeze(strand.labels, "uses one channel for all")
            call.freeze(labels, "uses one channel for all")
            return None
        call.tie(labels, strand.labels)
    for reason in stays:
        call.flow.labels.freeze(labels, reason)
    return Strand(labels, np.min([strand.revived for strand in found], axis=0))


def _cut_constants(call, terms, cuts):
    wanted = [
        (place, axis, cuts[letter])
        for place, term in enumerate(terms)
        if term.constant is not None
        for axis, letter in enumerate(term.letters)
        if letter in cuts and term.constant.shape[axis] > 1
    ]
    if wanted:
        cut_arguments(call, wanted)
