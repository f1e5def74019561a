"""Multiply-accumulates derived from the tables of papers, without Keras.

One function per network, called as its builder's `build`, for pictures of
224x224 (of 32x32 for those of CIFAR-10) and the paper's number of classes.
Those of binary networks return two numbers: of floats, and of signs.
"""


def convolution(size, kernel, inputs, outputs, groups=1):
    """Of a convolution whose output has `size` x `size` positions."""
    return size**2 * kernel**2 * inputs * outputs // groups


def depthwise(size, channels):
    return size**2 * 9 * channels


def mobilenet_v1(alpha=1.0, rho=1.0):
    """Table 1: a stem, then depthwise and pointwise in turn."""
    size, inputs = round(112 * rho), int(32 * alpha)
    macs = convolution(size, 3, 3, inputs)
    widths = (64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
    for number, width in enumerate(widths):
        size //= 2 if number in (1, 3, 5, 11) else 1
        outputs = int(width * alpha)
        macs += depthwise(size, inputs) + convolution(size, 1, inputs, outputs)
        inputs = outputs
    return macs + inputs * 1000


def eights(number):
    """The nearest multiple of 8 that is not below 90%."""
    found = [m for m in range(8, int(number) + 16, 8) if m >= 0.9 * number]
    return min(found, key=lambda m: (abs(m - number), -m))


def mobilenet_v2(alpha=1.0):
    """Table 2: expansion, channels, repeats, stride."""
    inputs, size = eights(32 * alpha), 112
    macs = convolution(112, 3, 3, inputs)
    for expansion, filters, repeats, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for repeat in range(repeats):
            wide = expansion * inputs
            if expansion > 1:
                macs += convolution(size, 1, inputs, wide)
            size //= 1 if repeat else stride
            outputs = eights(filters * alpha)
            macs += depthwise(size, wide) + convolution(size, 1, wide, outputs)
            inputs = outputs
    last = eights(1280 * max(alpha, 1))
    return macs + convolution(7, 1, inputs, last) + last * 1000


def shufflenet_v1(groups=3, alpha=1.0):
    """Table 1: units of stride 2 make what the mean beside them does not."""
    width = int(alpha * {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}[groups])
    inputs, size = {0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}[alpha], 28
    macs = convolution(112, 3, 3, inputs)
    for stage, repeats in enumerate((3, 7, 3)):
        inside = width // 4
        first = groups if stage else 1
        macs += convolution(2 * size, 1, inputs, inside, first)
        macs += depthwise(size, inside)
        macs += convolution(size, 1, inside, width - inputs, groups)
        one = 2 * convolution(size, 1, inside, width, groups)
        macs += repeats * (one + depthwise(size, inside))
        inputs, width, size = width, 2 * width, size // 2
    return macs + inputs * 1000


def shufflenet_v2(alpha=1.0):
    """Table 5: in units of stride 1 half of the channels are computed."""
    width = {0.5: 48, 1.0: 116, 1.5: 176, 2.0: 244}[alpha]
    macs, inputs, size = convolution(112, 3, 3, 24), 24, 28
    for repeats in (3, 7, 3):
        half = width // 2
        macs += convolution(2 * size, 1, inputs, half) + depthwise(size, half)
        macs += convolution(size, 1, half, half)
        macs += depthwise(size, inputs) + convolution(size, 1, inputs, half)
        one = 2 * convolution(size, 1, half, half) + depthwise(size, half)
        macs += repeats * one
        inputs, width, size = width, 2 * width, size // 2
    last = 2048 if alpha == 2 else 1024
    return macs + convolution(7, 1, inputs, last) + last * 1000


def squeezenet(version="1.0", bypass="none"):
    """Table 1, and the authors' version 1.1; bypasses of figure 2."""
    if version == "1.0":
        macs, inputs = convolution(109, 7, 3, 96), 96
        sizes = (54, 54, 54, 27, 27, 27, 27, 13)
    else:
        macs, inputs = convolution(111, 3, 3, 64), 64
        sizes = (55, 55, 27, 27, 13, 13, 13, 13)
    for size, squeeze in zip(sizes, (16, 16, 32, 32, 48, 48, 64, 64)):
        outputs = 8 * squeeze
        macs += convolution(size, 1, inputs, squeeze)
        macs += convolution(size, 1, squeeze, outputs // 2)
        macs += convolution(size, 3, squeeze, outputs // 2)
        if bypass == "complex" and inputs != outputs:
            macs += convolution(size, 1, inputs, outputs)
        inputs = outputs
    return macs + convolution(13, 1, inputs, 1000)


def cifar_resnet(depth=20, shortcut="A"):
    """Section 4.2: 2n layers at each of three sizes."""
    macs = convolution(32, 3, 3, 16)
    for size, width in ((32, 16), (16, 32), (8, 64)):
        macs += (depth - 2) // 3 * convolution(size, 3, width, width)
        if width > 16:  # The first layer reads half as many channels.
            macs -= convolution(size, 3, width // 2, width)
            if shortcut == "B":
                macs += convolution(size, 1, width // 2, width)
    return macs + 64 * 10


def vgg16(size=224, hidden=(4096, 4096), classes=1000):
    """Table 1, configuration D."""
    macs, inputs = 0, 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            macs += convolution(size, 3, inputs, width)
            inputs = width
        size //= 2
    inputs *= size**2
    for units in (*hidden, classes):
        macs += inputs * units
        inputs = units
    return macs


def cifar_vgg16():
    """Li et al., table 2."""
    return vgg16(32, (512,), 10)


def lenet300100():
    return 28 * 28 * 300 + 300 * 100 + 100 * 10


def lenet5():
    """28 - 4 = 24, halved 12; 12 - 4 = 8, halved 4."""
    convolutions = convolution(24, 5, 1, 20) + convolution(8, 5, 20, 50)
    return convolutions + 4 * 4 * 50 * 500 + 500 * 10


def binary_resnet(depth=20, shortcut="A"):
    """All but the stem, shortcuts and the last layer, and these."""
    others = convolution(32, 3, 3, 16) + 64 * 10
    if shortcut == "B":
        others += cifar_resnet(20, "B") - cifar_resnet(20, "A")
    return others, cifar_resnet(depth, shortcut) - others


def binary_resnet18():
    """He et al., table 1: two blocks at each of four sizes, option B."""
    others = convolution(112, 7, 3, 64) + 512 * 1000
    binary, inputs, size = 0, 64, 56
    for width in (64, 128, 256, 512):
        if width > 64:
            size //= 2
            others += convolution(size, 1, inputs, width)
        binary += convolution(size, 3, inputs, width)
        binary += 3 * convolution(size, 3, width, width)
        inputs = width
    return others, binary


def binary_lenet5():
    others = convolution(24, 5, 1, 20) + 500 * 10
    return others, lenet5() - others


def binary_connect_mlp(num_bits=None):
    """Three layers of 1024, of which the first reads pixels."""
    others, binary = 28 * 28 * 1024 + 1024 * 10, 2 * 1024**2
    return (others + binary, 0) if num_bits is None else (others, binary)
