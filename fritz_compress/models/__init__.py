"""Model builders: classes with `build(..., alpha)`, made to be subclassed."""

from fritz_compress.models.efficientnet_lite import EfficientNetLite0
from fritz_compress.models.feature_extractor import VGG16Features
from fritz_compress.models.flat_style_transfer import FlatStyleTransferNetwork
from fritz_compress.models.image_classifier import ImageClassifier
from fritz_compress.models.pretrained import load_pretrained
from fritz_compress.models.style_transfer import (
    SmallStyleTransferNetwork,
    StyleTransferNetwork,
)

__all__ = [
    "EfficientNetLite0",
    "ImageClassifier",
    "FlatStyleTransferNetwork",
    "SmallStyleTransferNetwork",
    "StyleTransferNetwork",
    "VGG16Features",
    "load_pretrained",
]
