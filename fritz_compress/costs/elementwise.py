"""Arithmetic number by number, averages, and interpolation."""

from keras import layers

from fritz_compress.costs.table import FREE, UNKNOWN, Call, Cost, rule
from fritz_compress.layers import DeprocessStylizedImage

# Numbers of the input that one number of an interpolated picture is made of.
_TAPS = {
    "nearest": 0,
    "bilinear": 4,
    "bicubic": 16,
    "lanczos3": 36,
    "lanczos5": 100,
}


@rule(
    layers.AdaptiveAveragePooling1D,
    layers.AdaptiveAveragePooling2D,
    layers.AdaptiveAveragePooling3D,
    layers.Average,
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.Rescaling,
    DeprocessStylizedImage,
    *"AdaptiveAveragePool AveragePool Divide DivideNoNan FloorDivide".split(),
    *"Glu Mean Mod Multiply Reciprocal Square TrueDivide".split(),
)
def once(call: Call) -> Cost:
    """One product or quotient per number: a mean is a sum and a quotient."""
    return Cost(others=call.outputs)


@rule(layers.Multiply)
def multiply(call: Call) -> Cost:
    """One less than there are factors."""
    return Cost(others=(len(call.node.inputs) - 1) * call.outputs)


@rule("Average")
def weighted_average(call: Call) -> Cost:
    """A product for every number that has a weight."""
    weights = call.arguments.get("weights")
    return Cost(others=call.outputs + (weights is not None) * call.inputs)


@rule("Power")
def power(call: Call) -> Cost:
    """Of a small whole number products, of all others a function."""
    exponent = call.arguments["x2"]
    if isinstance(exponent, (int, float)) and exponent in (2, 3, 4):
        return Cost(others=int(exponent - 1) * call.outputs)
    return FREE


@rule("Prod")
def product(call: Call) -> Cost:
    """One less than there are factors."""
    return Cost(others=call.inputs - call.outputs)


@rule("Moments", "Std", "Var")
def variance(call: Call) -> Cost:
    """A square for every number, and two means."""
    return Cost(others=call.inputs + 2 * call.outputs)


@rule(layers.UpSampling2D)
def upsampling(call: Call) -> Cost:
    """One product for every number that is interpolated from."""
    return _interpolated(call, call.operation.interpolation)


@rule(layers.Resizing, "Resize")
def resizing(call: Call) -> Cost:
    """Not known where it smooths first, or where some of it is filled."""
    operation = call.operation
    if operation.antialias or operation.pad_to_aspect_ratio:
        return UNKNOWN
    if call.shape == call.output_shape:
        return FREE
    return _interpolated(call, operation.interpolation)


@rule(layers.CenterCrop)
def center_crop(call: Call) -> Cost:
    """Of a picture that is too small: resized."""
    sides = zip(call.shape, call.output_shape)
    if all(size >= wanted for size, wanted in sides):
        return FREE
    return _interpolated(call, "bilinear")


@rule("RGBToGrayscale")
def grayscale(call: Call) -> Cost:
    """Three colours, weighted."""
    return Cost(others=call.inputs)


@rule(layers.IntegerLookup, layers.StringLookup, layers.TextVectorization)
def looked_up(call: Call) -> Cost:
    """Counts times rarity, where it is asked for."""
    mode = call.operation.get_config()["output_mode"]
    return Cost(others=call.outputs if mode == "tf_idf" else 0)


def _interpolated(call, interpolation):
    taps = _TAPS[interpolation]
    return Cost(others=taps * call.outputs) if taps else FREE
