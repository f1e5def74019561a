"""How the weights of a layer are quantized."""

import dataclasses

from fritz_compress.checks import check_count, check_one_of
from fritz_compress.ops.packing import check_nbits
from fritz_compress.ops.quantization import check_ranges

MODES = ("linear", "linear_symmetric", "kmeans", "product")
GRANULARITIES = (
    "per_tensor",
    "per_channel",
    "per_grouped_channel",
    "per_block",
)
LINEAR = ("linear", "linear_symmetric")
STARTS = ("optimal", "linear", "density", "random")
_PER_CODEBOOK = {"kmeans": GRANULARITIES[:3], "product": GRANULARITIES[::3]}


@dataclasses.dataclass(frozen=True)
class WeightConfig:
    """How the weights of a layer are quantized.

    Attributes:
        nbits: Bits of one code, 1 to 16. Defaults to 8.
        mode: "linear" for evenly spaced numbers, zero among them;
            "linear_symmetric" for as many above as below zero; "kmeans" for a
            codebook of single numbers, the optimal one; "product" for a
            codebook of sub-vectors (product quantization). Defaults to
            "linear_symmetric".
        granularity: What has a scale or a codebook of its own: "per_tensor",
            "per_channel" (output channel), "per_grouped_channel" (not
            linear), or "per_block" of consecutive inputs: for "linear" of
            `block_size` inputs per channel, for "product" one codebook per
            sub-vector position, as in Q-CNN. "product" knows per tensor and
            per block. By default "per_channel" for the linear modes, else
            "per_tensor".
        block_size: Inputs in a block. The largest divisor of the number of
            inputs that is not above it is taken. Defaults to 32.
        group_size: Channels that share a codebook, likewise. Defaults to 16.
        ranges: For the linear modes: "minmax", "percentile" or
            "least_squares", see `ops.quantization.linear_quantize`. By
            default "minmax", or "least_squares" below 6 bits.
        percentile: For `ranges="percentile"`. Defaults to 99.9.
        dimension: Numbers in a sub-vector, for "product". The largest divisor
            that is not above it is taken. Defaults to 4.
        vectors: What a sub-vector runs along: "inputs" or "outputs" of a
            kernel. Defaults to "inputs".
        start: For "kmeans": "optimal", or where Lloyd's algorithm starts, for
            comparison: "linear", "density" or "random".
        weight_threshold: Weights of fewer numbers are left. Defaults to 0.

    Raises:
        TypeError, ValueError: for a value that is not as described, or
            settings that do not go together.

    Example:

    >>> WeightConfig(nbits=4, mode="kmeans", granularity="per_channel")
    """

    nbits: int = 8
    mode: str = "linear_symmetric"
    granularity: str | None = None
    block_size: int = 32
    group_size: int = 16
    ranges: str | None = None
    percentile: float = 99.9
    dimension: int = 4
    vectors: str = "inputs"
    start: str = "optimal"
    weight_threshold: int = 0

    def __post_init__(self):
        check_nbits(self.nbits)
        check_one_of("mode", self.mode, MODES)
        check_one_of("granularity", self.granularity, (None, *GRANULARITIES))
        check_one_of("vectors", self.vectors, ("inputs", "outputs"))
        check_one_of("start", self.start, STARTS)
        check_ranges(self.ranges or "minmax", self.percentile)
        for name in ("block_size", "group_size", "dimension"):
            check_count(name, getattr(self, name))
        check_count("weight_threshold", self.weight_threshold, least=0)
        if self.granularity is None:
            default = "per_channel" if self.mode in LINEAR else "per_tensor"
            object.__setattr__(self, "granularity", default)
        self._check_together()

    def _check_together(self):
        linear = (*GRANULARITIES[:2], GRANULARITIES[3])
        known = _PER_CODEBOOK.get(self.mode, linear)
        if self.granularity not in known:
            raise ValueError(
                f"mode='{self.mode}' must have a granularity of {list(known)}. "
                f"Received: granularity='{self.granularity}'."
            )
        if self.ranges is not None and self.mode not in LINEAR:
            raise ValueError(
                "`ranges` is for the linear modes; a codebook has no range. "
                f"Received: ranges='{self.ranges}' with mode='{self.mode}'. "
                "Leave it out."
            )

    @property
    def levels_between(self) -> str:
        """What `ranges` is, or its default for this number of bits."""
        return self.ranges or ("minmax" if self.nbits >= 6 else "least_squares")
