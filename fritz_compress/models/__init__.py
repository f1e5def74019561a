"""Model builders: classes with `build(..., alpha)`, made to be subclassed."""

from fritz_compress.models.binary_lenet import BinaryConnectMLP, BinaryLeNet5
from fritz_compress.models.binary_resnet import BinaryResNet, BinaryResNet18
from fritz_compress.models.cifar_resnet import CifarResNet
from fritz_compress.models.efficientnet_lite import EfficientNetLite0
from fritz_compress.models.feature_extractor import VGG16Features
from fritz_compress.models.flat_style_transfer import FlatStyleTransferNetwork
from fritz_compress.models.image_classifier import ImageClassifier
from fritz_compress.models.lenet import LeNet5, LeNet300100
from fritz_compress.models.mobilenet_v1 import MobileNetV1
from fritz_compress.models.mobilenet_v2 import MobileNetV2
from fritz_compress.models.pretrained import load_pretrained
from fritz_compress.models.shufflenet_v1 import ShuffleNetV1
from fritz_compress.models.shufflenet_v2 import ShuffleNetV2
from fritz_compress.models.squeezenet import SqueezeNet
from fritz_compress.models.style_transfer import (
    SmallStyleTransferNetwork,
    StyleTransferNetwork,
)
from fritz_compress.models.vgg import VGG16, CifarVGG16

__all__ = [
    "BinaryConnectMLP",
    "BinaryLeNet5",
    "BinaryResNet",
    "BinaryResNet18",
    "CifarResNet",
    "CifarVGG16",
    "EfficientNetLite0",
    "FlatStyleTransferNetwork",
    "ImageClassifier",
    "LeNet300100",
    "LeNet5",
    "MobileNetV1",
    "MobileNetV2",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "SmallStyleTransferNetwork",
    "SqueezeNet",
    "StyleTransferNetwork",
    "VGG16",
    "VGG16Features",
    "load_pretrained",
]
