"""Kernels of low rank: two to four small layers in place of a large one."""

from fritz_compress.surgery.factorization.config import FactorizationConfig
from fritz_compress.surgery.factorization.factorizing import factorize
from fritz_compress.surgery.factorization.report import (
    FactorizationReport,
    FactorizedLayer,
)

__all__ = [
    "FactorizationConfig",
    "FactorizationReport",
    "FactorizedLayer",
    "factorize",
]
