"""The forms in which a Core ML program stores coded kernels.

Each is a constant expression of MIL, decoded when a phone loads the program:
https://apple.github.io/coremltools/docs-guides/source/opt-overview.html. iOS 16
knows scales of tensors and channels, tables of tensors and bit masks; iOS 18
knows blocks, tables of groups and of vectors, and masks around codes.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from fritz_compress.ops.codes import (
    CodebookCodes,
    Codes,
    LinearCodes,
    ProductCodes,
    symmetric_zero_point,
)

# The first systems that know compressed kernels, and that know blocks.
COMPRESSED, BLOCKS = "iOS16", "iOS18"
TABLE_BITS = {COMPRESSED: (1, 2, 4, 6, 8), BLOCKS: (1, 2, 3, 4, 6, 8)}
MOST_BITS = 8  # Of a code.
FLOAT = 32  # Bits of a number that has no code.
NO_WEIGHTS = ("shape", "axis", "vector_axis")  # Arguments that say how.


@dataclasses.dataclass(frozen=True, eq=False)
class Argument:
    """An argument of an operation: numbers, and MIL's name of their type."""

    values: np.ndarray
    type: str

    @property
    def bits(self) -> int:
        """Bits of one number."""
        return int(self.type.lstrip("uintfp"))


Operation = tuple[str, dict[str, Argument]]


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """One form of one kernel.

    Attributes:
        operations: Names and arguments of one operation, or of two, where the
            first makes a mask and numbers that the second puts in place.
        bits: Bits of one code; `FLOAT` for numbers without codes.
        count: Codes, or numbers, that are stored.
        mask_bits: Bits of the mask, if there is one.
        float_bits: Bits of one float, in scales, tables and what has no code.
    """

    operations: tuple[Operation, ...]
    bits: int
    count: int
    mask_bits: int = 0
    float_bits: int = FLOAT

    @property
    def code_bits(self) -> int:
        """Bits of all codes and of the mask, without scales and tables."""
        bits = self.float_bits if self.bits == FLOAT else self.bits
        return self.mask_bits + bits * self.count

    @property
    def nbytes(self) -> int:
        """Bytes of all that is stored."""
        return sum(
            -(-part.values.size * self._bits_of(part) // 8)
            for _, arguments in self.operations
            for name, part in arguments.items()
            if name not in NO_WEIGHTS
        )

    def _bits_of(self, part):
        return self.float_bits if part.type == "fp32" else part.bits


def smallest(
    values: np.ndarray,
    codes: Codes | None,
    target: str,
    float_bits: int = FLOAT,
) -> Stored | None:
    """The form of the fewest bytes.

    Args:
        values: The kernel, float32.
        codes: The codes it holds, in the layout of `values`, if any.
        target: The oldest system that must read it, such as "iOS16".
        float_bits: 16 where the program will compute in float16.

    Returns: `None` if that system has no form smaller than the kernel itself.
    """
    found = [
        dataclasses.replace(form, float_bits=float_bits)
        for form in _forms(values, codes, target)
        if form
    ]
    best = min(found, key=lambda form: form.nbytes, default=None)
    most = values.size * float_bits // 8
    return best if best and best.nbytes < most else None


def _forms(values, codes, target) -> Iterator[Stored | None]:
    if target < COMPRESSED:
        return
    newest = target >= BLOCKS
    dense = _dense_blocks if newest else _dense
    sparse = _sparse_blocks if newest else _sparse
    mask = values != 0
    forms = [codes, _as_codebook(codes)]
    forms = [form for form in forms if form and form.nbits <= MOST_BITS]
    yield from map(dense, forms)
    if not mask.all():
        for form in (*forms, None):
            yield sparse(values, mask, form)


def _as_codebook(codes):
    """Evenly spaced levels as a table, where that can be the smaller form."""
    if not isinstance(codes, LinearCodes) or codes.nbits > MOST_BITS:
        return None
    if codes.scale.size * 2**codes.nbits > codes.codes.size:
        return None
    levels = np.arange(2**codes.nbits) * codes.scale[..., None].astype(float)
    books = (levels + codes.offset[..., None]).astype("float32")
    return CodebookCodes(codes.codes, books, codes.nbits)


# iOS 16


def _dense(codes):
    if isinstance(codes, LinearCodes):
        return _affine(codes)
    if isinstance(codes, CodebookCodes) and math.prod(codes.groups) == 1:
        return _table(codes)
    return None


def _affine(codes):
    """8 bits, with a scale and a zero point per tensor or channel."""
    axes = [axis for axis, count in enumerate(codes.groups) if count > 1]
    if len(axes) > 1 or any(codes.groups[i] != codes.shape[i] for i in axes):
        return None
    data, zero_point = _centred(codes, 8)
    shape = (-1,) if axes else ()
    if zero_point is None:
        zero_point = Argument(np.zeros((), "int8"), "int8")
    else:
        points = zero_point.values.reshape(shape)
        zero_point = Argument(points, zero_point.type)
    arguments = {
        "quantized_data": data,
        "zero_point": zero_point,
        "scale": Argument(codes.scale.reshape(shape), "fp32"),
        "axis": Argument(np.int32(axes[0] if axes else 0), "int32"),
    }
    operation = ("constexpr_affine_dequantize", arguments)
    return Stored((operation,), 8, codes.codes.size)


def _table(codes):
    bits = _width(codes.nbits, COMPRESSED)
    arguments = {
        "indices": Argument(_packed(codes.codes, bits), "uint8"),
        "lut": Argument(
            _padded(codes.codebooks[..., None], bits).reshape(-1), "fp32"
        ),
        "shape": Argument(np.array(codes.shape, "uint32"), "uint32"),
    }
    operation = ("constexpr_lut_to_dense", arguments)
    return Stored((operation,), bits, codes.codes.size)


def _sparse(values, mask, codes):
    if codes is not None:
        return None
    arguments = {
        "nonzero_data": Argument(values[mask], "fp32"),
        "mask": Argument(_packed(mask.astype("uint8"), 1), "uint8"),
        "shape": Argument(np.array(values.shape, "uint32"), "uint32"),
    }
    return _sparse_stored(mask, FLOAT, ("constexpr_sparse_to_dense", arguments))


def _packed(codes, bits):
    """Codes one after the other, the lowest bit first."""
    rows = codes.astype("uint8").reshape(-1, 1)
    planes = np.unpackbits(rows, axis=1, count=bits, bitorder="little")
    return np.packbits(planes.reshape(-1), bitorder="little")


# iOS 18


def _dense_blocks(codes):
    if isinstance(codes, LinearCodes):
        bits = 4 if codes.nbits <= 4 else 8
        data, offset = _centred(codes, bits)
        arguments = {"data": data, **_scales(codes, offset)}
        kind = "constexpr_blockwise_shift_scale"
    else:
        bits = _width(codes.nbits, BLOCKS)
        indices = {"indices": Argument(codes.codes, f"uint{bits}")}
        arguments = {**indices, **_tables(codes, bits)}
        kind = "constexpr_lut_to_dense"
    return Stored(((kind, arguments),), bits, codes.codes.size)


def _sparse_blocks(values, mask, codes):
    """A mask around codes, or around floats."""
    ones = Argument(mask.astype("uint8"), "uint1")
    if codes is None:
        numbers = {"nonzero_data": Argument(values[mask], "fp32"), "mask": ones}
        operation = ("constexpr_sparse_to_dense", numbers)
        return _sparse_stored(mask, FLOAT, operation)
    if isinstance(codes, ProductCodes) or not mask.any():
        return None
    if isinstance(codes, LinearCodes):
        bits = 4 if codes.nbits <= 4 else 8
        data, offset = _centred(codes, bits)
        arguments = {
            "data_mask": ones,
            "nonzero_data": Argument(data.values[mask], data.type),
            **_scales(codes, offset),
        }
        kind = "constexpr_sparse_blockwise_shift_scale"
    else:
        bits = _width(codes.nbits, BLOCKS)
        arguments = {
            "indices_mask": ones,
            "indices_nonzero_data": Argument(codes.codes[mask], f"uint{bits}"),
            **_tables(codes, bits),
        }
        kind = "constexpr_lut_to_sparse"
    return _sparse_stored(
        mask, bits, (kind, arguments), ("constexpr_sparse_to_dense", {})
    )


def _sparse_stored(mask, bits, *operations):
    return Stored(operations, bits, np.count_nonzero(mask), mask.size)


def _scales(codes, offset):
    scale = {"scale": Argument(codes.scale, "fp32")}
    return scale if offset is None else {**scale, "offset": offset}


def _tables(codes, bits):
    if not isinstance(codes, ProductCodes):
        books = _padded(codes.codebooks[..., None], bits)
        return {"lut": Argument(books, "fp32")}
    axis = Argument(np.int32(codes.axis), "int32")
    books = _padded(codes.codebooks, bits)
    return {"lut": Argument(books, "fp32"), "vector_axis": axis}


# Both


def _centred(codes, bits):
    """Codes of `bits` bits, and the number that stands for zero.

    Signed codes without such a number where the grid is symmetric. Else the
    number is a code where zero is a level in every group, or it is a float.
    """
    points = codes.zero_points
    if points is not None:
        signed = codes.codes.astype("int16") - symmetric_zero_point(codes.nbits)
        symmetric = (points == symmetric_zero_point(codes.nbits)).all()
        if symmetric and signed.max() < 2 ** (bits - 1):
            return Argument(signed.astype("int8"), f"int{bits}"), None
    unsigned = Argument(codes.codes.astype("uint8"), f"uint{bits}")
    if points is not None and 0 <= points.min() <= points.max() < 2**bits:
        return unsigned, Argument(points.astype("uint8"), f"uint{bits}")
    floats = -codes.offset.astype("float64") / codes.scale
    return unsigned, Argument(floats.astype("float32"), "fp32")


def _width(nbits, target):
    """The fewest bits of a code that have room for `nbits`."""
    return min(bits for bits in TABLE_BITS[target] if bits >= nbits)


def _padded(books, bits):
    """Tables of `2**bits` vectors, the last one repeated."""
    missing = 2**bits - books.shape[-2]
    return np.concatenate([books, *[books[..., -1:, :]] * missing], axis=-2)
