"""Networks of floats, of few bits and of one, all of the same shape."""

from keras import layers

from fritz_compress import quantizers
from fritz_compress.layers import BinaryConv2D
from fritz_compress.models import BinaryConnectMLP, BinaryResNet

SCALED, SIGN = "magnitude_aware_sign", "ste_sign"
# Of random signs: from this magnitude on a sign is certain. Of 0.02, 0.1 and 1
# the best one for the MLP on images held out, after two epochs; 0.1 is as good
# for the ResNet, and with 1 neither learned.
LIMIT = 0.02
STOCHASTIC = "binaryconnect_stochastic"
ORDER = "convolution_normalization_sign"
WAYS = {
    "float": {"num_bits": None, "kernel_quantizer": None},
    "bwn": {"num_bits": None, "kernel_quantizer": SCALED},
    "binaryconnect": {"num_bits": None, "kernel_quantizer": SIGN},
    STOCHASTIC: {
        "num_bits": None,
        # Written out, so that each layer makes one of its own.
        "kernel_quantizer": quantizers.serialize(
            quantizers.StochasticSign(LIMIT)
        ),
    },
    "activations_4": {"num_bits": 4, "kernel_quantizer": SCALED},
    "activations_2": {"num_bits": 2, "kernel_quantizer": SCALED},
    "activations_1": {"num_bits": 1, "kernel_quantizer": SCALED},
    "xnor": {
        "num_bits": 1,
        "kernel_quantizer": SCALED,
        "input_scale": True,
    },
    "binarynet": {"num_bits": 1, "kernel_quantizer": SIGN},
    ORDER: {},
}
SIGNS = ("activations_1", "xnor", "binarynet")
# Which ways each network is trained in.
NETWORKS = {
    "resnet": tuple(WAYS),
    "mlp": tuple(way for way in WAYS if way != ORDER),
    "mlp_unnormalized": SIGNS,
}


class SmallResNet(BinaryResNet):
    """For pictures of 28x28 pixels, which it halves at once."""

    @classmethod
    def stem(cls, x, filters):
        return cls.convolution(x, filters, 3, 2, activation=None, name="stem")


class SignAfterNormalization(SmallResNet):
    """Convolution, normalization, sign: a sign where ResNets have a ReLU."""

    @classmethod
    def stem(cls, x, filters):
        return cls.signed(super().stem(x, filters), "stem")

    @classmethod
    def end(cls, x):
        return x

    @classmethod
    def residual_block(cls, x, filters, strides, shortcut, name, bits, bi_real):
        y = cls.binary(x, filters, strides, f"{name}_first")
        x = cls.shortened(x, filters, strides, shortcut, name)
        if bi_real:
            y = layers.Add(name=f"{name}_first_add")([x, y])
        y = cls.signed(y, f"{name}_first")
        x = y if bi_real else x
        y = cls.binary(y, filters, 1, f"{name}_second")
        return cls.signed(layers.Add(name=f"{name}_add")([x, y]), name)

    @classmethod
    def binary(cls, x, filters, strides, name):
        x = BinaryConv2D(
            filters,
            3,
            strides,
            "same",
            kernel_quantizer=SCALED,
            input_quantizer=None,
            use_bias=False,
            kernel_initializer=cls.kernel_initializer,
            name=f"{name}_convolution",
        )(x)
        return cls.normalize(x, name, activation=None)

    @classmethod
    def signed(cls, x, name):
        sign = quantizers.SteSign()
        return layers.Activation(sign, name=f"{name}_sign")(x)


class UnnormalizedMLP(BinaryConnectMLP):
    """Without what makes a scale of the sums useless."""

    @classmethod
    def normalize(cls, x, name, activation=None):
        return x


def build(network, way):
    """An uncompiled model for 28x28 pixels of one channel and ten classes."""
    if network != "resnet":
        kind = BinaryConnectMLP if network == "mlp" else UnnormalizedMLP
        return kind.build(alpha=0.5, **WAYS[way])
    kind = SignAfterNormalization if way == ORDER else SmallResNet
    return kind.build(
        (28, 28), 1.5, depth=8, channels=1, bi_real=True, **WAYS[way]
    )
