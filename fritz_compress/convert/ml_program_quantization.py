"""Kernels of a Core ML program in codes: those they hold, or new ones."""

import hashlib
import math
from typing import Any

import keras
import numpy as np

from fritz_compress import graph as graphs
from fritz_compress.convert.binary_kernels import holds_levels
from fritz_compress.convert.mil_kernels import kernels, replace
from fritz_compress.convert.mil_storage import (
    BLOCKS,
    COMPRESSED,
    MOST_BITS,
    Stored,
    smallest,
)
from fritz_compress.ops.codebooks import codebook_quantize
from fritz_compress.ops.codes import Codes
from fritz_compress.ops.quantization import linear_quantize
from fritz_compress.ops.recognition import recognize

TARGETS = ("iOS15", COMPRESSED, BLOCKS)  # Where something new came.
NARROW_BELOW = 6  # Bits: with more of them the full range is the best.
# An older system is the default if its codes take so many times the bits.
WORTH_A_TARGET = 1.1
# A codebook may make a kernel so many times as large as even levels do.
WORTH_A_CODEBOOK = 1.25
NO_CODEBOOK = "linear, as a codebook is large for so few numbers"
NO_TABLE = "{} bits, as a table is large for so few numbers"


def holds_codes(graph: graphs.Graph) -> bool:
    """Whether a kernel holds codes, which folding into it would destroy."""
    if any(holds_levels(node.operation) for node in graph.nodes):
        return True
    weights = {
        id(weight): weight
        for node in graph.nodes
        for weight in getattr(node.operation, "weights", [])
        if len(weight.shape) > 1
    }
    return any(
        recognize(keras.ops.convert_to_numpy(weight)) is not None
        for weight in weights.values()
    )


class KernelCoder:
    """Stores the kernels of programs of one model in codes.

    A kernel that holds codes of up to `nbits` bits, or with `None` of any, is
    stored in exactly these. With `nbits`, the others are quantized:

    - "kmeans": one codebook per kernel, the optimal one. Where that makes the
      kernel over a quarter larger than they do: evenly spaced numbers.
    - "linear", 8 bits: a scale and a zero point per output channel. 4 bits
      too, from iOS 18 on.
    - "linear", other bits: evenly spaced numbers per kernel, over the range of
      least squared error.

    Args:
        graph: The traced model.
        nbits: 1 to 8, or `None`.
        mode: "linear" or "kmeans".
        float_bits: 16 where the programs will compute in float16.

    Attributes:
        notes: For a layer, why a kernel takes more bits than its codes, or
            than asked for.
    """

    def __init__(
        self,
        graph: graphs.Graph,
        nbits: int | None,
        mode: str,
        float_bits: int = 32,
    ):
        self.graph, self.nbits, self.mode = graph, nbits, mode
        self.float_bits = float_bits
        self.notes: dict[keras.Layer | None, str] = {}
        self._held: dict[tuple, Codes | None] = {}

    def oldest_target(self, program: Any) -> str:
        """The oldest system with hardly more bits than the newest.

        What counts are codes and masks of the kernels that hold codes or many
        zeros; the others do not need a system.
        """
        totals = dict.fromkeys(TARGETS, 0)
        for kernel in kernels(program, self.graph):
            codes = self._codes(kernel)
            for target in TARGETS:
                form = self._form(kernel, codes, target)
                floats = self.float_bits * kernel.values.size
                bits = form.code_bits if form else floats
                totals[target] += bits
        most = WORTH_A_TARGET * totals[TARGETS[-1]]
        return next(target for target in TARGETS if totals[target] <= most)

    def store_held(self, program: Any, target: str) -> None:
        """Stores the codes that kernels hold, in place.

        coremltools folds what follows a convolution into its kernel, which
        destroys the codes: call this before.
        """
        for kernel in kernels(program, self.graph):
            codes = self._codes(kernel)
            if codes is None:
                continue
            form = self._form(kernel, codes, target)
            self._note(kernel, codes, form, target)
            if form is not None:
                replace(program, kernel, form)

    def store_others(self, program: Any, target: str) -> None:
        """Quantizes what is left, or leaves out its zeros, in place."""
        for kernel in kernels(program, self.graph):
            if self.nbits is None:
                form = self._form(kernel, None, target)
            else:
                form = self._new_form(kernel, target)
            if form is not None:
                replace(program, kernel, form)

    def _codes(self, kernel):
        """Codes that a kernel holds, of few enough bits."""
        values = np.ascontiguousarray(kernel.values)
        key = (values.shape, hashlib.sha256(values).digest())
        if key not in self._held:
            self._held[key] = recognize(values)
        codes = self._held[key]
        if codes is None or self.nbits is None or codes.nbits <= self.nbits:
            return codes
        return None

    def _form(self, kernel, codes, target) -> Stored | None:
        if codes is not None:
            codes = kernel.codes_in_mil(codes)
            values = codes.decode()
        else:
            values = kernel.constant.val
        return smallest(values, codes, target, self.float_bits)

    def _new_form(self, kernel, target):
        """The form of a kernel in new codes, if that saves anything."""
        even = self._even_form(kernel, target, self.nbits)
        if self.mode == "kmeans":
            codes = codebook_quantize(kernel.values, self.nbits)
            form = self._form(kernel, codes, target)
            if form and form.nbytes <= WORTH_A_CODEBOOK * _size(even):
                return form
            self.notes[kernel.layer] = NO_CODEBOOK
        if even and even.bits > self.nbits:  # Room for more levels.
            self.notes[kernel.layer] = NO_TABLE.format(even.bits)
            even = self._even_form(kernel, target, even.bits)
        if even is None:
            self.notes[kernel.layer] = "too few numbers for codes"
        return even

    def _even_form(self, kernel, target, nbits):
        values = kernel.values
        groups = [1] * values.ndim
        with_scales = nbits == 8 or nbits == 4 and target >= BLOCKS
        if with_scales:
            groups[kernel.channels] = values.shape[kernel.channels]
        ranges = "least_squares" if nbits < NARROW_BELOW else "minmax"
        # A scale needs a zero point; a table of even levels does not, and of
        # four levels or two none can be spared for zero.
        zero = True if with_scales else None
        codes = linear_quantize(
            values, nbits, tuple(groups), zero=zero, ranges=ranges
        )
        return self._form(kernel, codes, target)

    def _note(self, kernel, codes, form, target):
        """Notes it where only a newer system, or none, stores the codes."""
        best = self._form(kernel, codes, TARGETS[-1])
        if best is None:
            self.notes[kernel.layer] = (
                f"holds codes of {codes.nbits} bits, which no system stores: "
                f"{MOST_BITS} are the most"
            )
        elif form is None or form.bits > best.bits:
            forms = {t: self._form(kernel, codes, t) for t in TARGETS}
            needed = min(
                t for t, f in forms.items() if f and f.bits == best.bits
            )
            self.notes[kernel.layer] = (
                f"holds codes of {codes.nbits} bits, which need "
                f"minimum_target='{needed}'"
            )


def _size(form):
    return form.nbytes if form else math.inf
