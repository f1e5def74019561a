"""Frozen features that perceptual losses compare.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale
Image Recognition", https://arxiv.org/abs/1409.1556, configuration D.
"""

import os

import keras

from fritz_compress.models.weights import load_weights

IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


class VGG16Features:
    """Builds VGG16 up to block4_conv3, frozen, for perceptual losses.

    Attributes:
        layers: Names of the layers whose activations are returned.
    """

    layers: tuple[str, ...] = (
        "block1_conv2",
        "block2_conv2",
        "block3_conv3",
        "block4_conv3",
    )

    @classmethod
    def build(
        cls, weights: str | os.PathLike | None = "imagenet"
    ) -> keras.Model:
        """Returns a frozen model from RGB pixels to a list of feature maps.

        Args:
            weights: "imagenet" to use the weights Keras downloads once, a
                `.h5` file of Keras' VGG16 without its top, a `.npz` archive
                of arrays named "block1_conv1/kernel" and so on, or `None`
                for random weights.

        Input shape: `(batch, height, width, 3)`, RGB in `[0, 255]`.
        Output shape: one `(batch, height / 2^b, width / 2^b, channels)` per
            name in `layers`, `b` from 0 to 3.

        Raises:
            ValueError: if the weights can not be downloaded, or a file does
                not hold them.

        Example:

        >>> extractor = VGG16Features.build("vgg16.npz")
        >>> [features.shape[-1] for features in extractor.outputs]
        [64, 128, 256, 512]
        """
        inputs = keras.Input((None, None, 3), name="image")
        bgr = inputs[..., ::-1] - keras.ops.array(IMAGENET_MEAN_BGR)
        vgg = cls._vgg16(weights)
        features = keras.Model(
            vgg.inputs, [vgg.get_layer(name).output for name in cls.layers]
        )
        if weights not in (None, "imagenet") and _is_archive(weights):
            load_weights(features, weights)
        model = keras.Model(inputs, features(bgr), name="vgg16_features")
        model.trainable = False
        return model

    @classmethod
    def _vgg16(cls, weights):
        named = "imagenet" if weights == "imagenet" else None
        if named is None and weights is not None and not _is_archive(weights):
            named = os.fspath(weights)
        try:
            return keras.applications.VGG16(include_top=False, weights=named)
        except Exception as error:
            raise ValueError(
                f"The VGG16 weights '{weights}' could not be loaded: {error} "
                "Without network, pass a file: `VGG16Features.build(weights="
                "'vgg16.h5')` (Keras' VGG16 without its top) or a '.npz' "
                "archive of arrays named 'block1_conv1/kernel', ..."
            ) from error


def _is_archive(path) -> bool:
    return os.fspath(path).endswith(".npz")
