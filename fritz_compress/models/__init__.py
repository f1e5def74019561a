"""Model builders: classes with `build(..., alpha)`, made to be subclassed."""

from fritz_compress.models.style_transfer import (
    SmallStyleTransferNetwork,
    StyleTransferNetwork,
)

__all__ = [
    "SmallStyleTransferNetwork",
    "StyleTransferNetwork",
]
