"""Layers with random settings, as code, for random graphs.

A maker takes a source of chance and the shape that the layer is called on,
without the batch; it returns code, or `None` where no such layer fits. Of
several choices the first is the simplest, which failures shrink to.
"""

import math
import random
from collections.abc import Callable

Shape = tuple[int, ...]
Maker = Callable[[random.Random, Shape], str | None]

CHANNELS = (4, 6, 8, 5, 12)
# Elementwise, neither steep nor dead.
ACTIVATIONS = (
    "relu tanh sigmoid gelu silu elu leaky_relu softplus selu hard_sigmoid mish"
).split()
KERNELS: dict[str, Maker] = {}
NORMALIZATIONS: dict[str, Maker] = {}
ELEMENTWISE: dict[str, Maker] = {}
SPATIAL: dict[str, Maker] = {}
MOVEMENT: dict[str, Maker] = {}
RECURRENT: dict[str, Maker] = {}
KINDS = {
    "kernels": KERNELS,
    "normalizations": NORMALIZATIONS,
    "elementwise": ELEMENTWISE,
    "spatial": SPATIAL,
    "movement": MOVEMENT,
    "recurrent": RECURRENT,
}


def enter(table: dict, *ranks: int):
    """Enters a maker in a table, for shapes of these lengths."""

    def decorate(make):
        def checked(rng, shape):
            return make(rng, shape) if len(shape) in ranks else None

        table[make.__name__] = checked
        return make

    return decorate


def divisors(number: int) -> list[int]:
    """Divisors above 1, the number itself included."""
    return [d for d in range(2, number + 1) if number % d == 0]


def random_layer(rng: random.Random, shape: Shape, kinds: list[str]) -> str:
    """Code of a layer of one of these kinds; dense if the choice won't fit."""
    make = rng.choice(list(KINDS[rng.choice(kinds)].values()))
    return make(rng, shape) or f"layers.Dense({rng.choice(CHANNELS)})"


def activation(rng: random.Random) -> str:
    """An argument, or nothing, mostly."""
    if rng.random() < 0.6:
        return ""
    return f", activation='{rng.choice(ACTIVATIONS)}'"


def bias(rng: random.Random) -> str:
    return ", use_bias=False" if rng.random() > 0.8 else ""


def window(rng: random.Random, shape: Shape, stride: bool = True) -> str:
    """Kernel size, padding and strides that leave at least two positions."""
    size = rng.choice([1, 2, 3])
    smallest = min(shape[:-1])
    padding = "same" if size > smallest - 1 or rng.random() < 0.6 else "valid"
    strides = 1
    if stride and padding == "same" and smallest > 3:
        strides = rng.choice([1, 1, 2])
    return f"{size}, padding='{padding}', strides={strides}"


@enter(KERNELS, 1, 2, 3)
def dense(rng, shape):
    return f"layers.Dense({rng.choice(CHANNELS)}{activation(rng)}{bias(rng)})"


@enter(KERNELS, 2, 3, 4)
def convolution(rng, shape):
    rank = len(shape) - 1
    arguments = window(rng, shape) + activation(rng) + bias(rng)
    return f"layers.Conv{rank}D({rng.choice(CHANNELS)}, {arguments})"


@enter(KERNELS, 2, 3)
def grouped_convolution(rng, shape):
    if shape[-1] < 2:
        return None
    groups = rng.choice(divisors(shape[-1]))
    filters = groups * rng.choice([1, 2] if groups > 3 else [2, 3, 4])
    arguments = window(rng, shape) + activation(rng) + bias(rng)
    return (
        f"layers.Conv{len(shape) - 1}D({filters}, {arguments}, "
        f"groups={groups})"
    )


@enter(KERNELS, 2, 3, 4)
def transposed_convolution(rng, shape):
    strides = rng.choice([1, 2]) if math.prod(shape[:-1]) < 30 else 1
    return (
        f"layers.Conv{len(shape) - 1}DTranspose({rng.choice(CHANNELS)}, "
        f"{rng.choice([1, 2, 3])}, strides={strides}, padding='same'"
        f"{activation(rng)}{bias(rng)})"
    )


@enter(KERNELS, 2, 3)
def depthwise_convolution(rng, shape):
    arguments = window(rng, shape) + activation(rng) + bias(rng)
    return (
        f"layers.DepthwiseConv{len(shape) - 1}D({arguments}, "
        f"depth_multiplier={rng.choice([1, 2])})"
    )


@enter(KERNELS, 2, 3)
def separable_convolution(rng, shape):
    arguments = window(rng, shape) + activation(rng) + bias(rng)
    return (
        f"layers.SeparableConv{len(shape) - 1}D({rng.choice(CHANNELS)}, "
        f"{arguments}, depth_multiplier={rng.choice([1, 2])})"
    )


@enter(KERNELS, 1, 2, 3)
def einsum_dense(rng, shape):
    units, heads = rng.choice(CHANNELS), rng.choice([2, 3, 4])
    first, last = shape[0], shape[-1]
    both = f"{heads}, {units}"
    equations = {
        1: [("ac,cd->ad", units, "d"), ("ac,cde->ade", both, "de")],
        2: [
            ("abc,cd->abd", f"{first}, {units}", "d"),
            ("...c,cd->...d", f"{units}", "d"),
            ("abc,cde->abde", f"{first}, {both}", "de"),
            # Not "d" alone: where d and c have one size, Keras on TensorFlow
            # adds a bias of shape (d, 1) along c.
            ("abc,bd->adc", f"{units}, {last}", "dc"),
            ("abc,c->abc", f"{first}, {last}", "c"),
            ("abc,bcd->ad", units, "d"),
        ],
        3: [
            ("abcd,cde->abe", f"{first}, {units}", "e"),
            ("abcd,de->abce", f"{first}, {shape[-2:][0]}, {units}", "e"),
            ("abcd,dce->abe", f"{first}, {units}", "e"),
            ("abcd,cde->abce", f"{first}, {shape[-2:][0]}, {units}", "e"),
        ],
    }
    equation, sizes, axes = rng.choice(equations[len(shape)])
    axes = f", bias_axes='{axes}'" if rng.random() < 0.6 else ""
    return (
        f"layers.EinsumDense('{equation}', ({sizes},){axes}{activation(rng)})"
    )


@enter(KERNELS, 2, 3)
def spectral_normalization(rng, shape):
    make = rng.choice([dense, convolution])
    return f"layers.SpectralNormalization({make(rng, shape)})"


@enter(KERNELS, 2, 3)
def time_distributed(rng, shape):
    inner = random_layer(
        rng, shape[1:], ["kernels", "normalizations", "elementwise"]
    )
    if "EinsumDense" in inner and "..." in inner:
        return None
    if "UnitNormalization" in inner:
        return None  # The oracle does not look inside for it.
    return f"layers.TimeDistributed({inner})"


@enter(NORMALIZATIONS, 1, 2, 3, 4)
def batch_normalization(rng, shape):
    axis = -1 if rng.random() < 0.85 else rng.randint(1, len(shape))
    extra = rng.choice(["", "", ", scale=False", ", center=False"])
    return f"layers.BatchNormalization(axis={axis}{extra})"


@enter(NORMALIZATIONS, 1, 2, 3, 4)
def layer_normalization(rng, shape):
    axes = [-1, -1, 1] + ([[-2, -1]] if len(shape) > 1 else [])
    return f"layers.LayerNormalization(axis={rng.choice(axes)})"


@enter(NORMALIZATIONS, 2, 3)
def group_normalization(rng, shape):
    groups = rng.choice([-1, 1, *divisors(shape[-1])])
    return f"layers.GroupNormalization({groups})"


@enter(NORMALIZATIONS, 1, 2, 3)
def rms_normalization(rng, shape):
    return "layers.RMSNormalization()"  # Keras fails on other axes.


@enter(NORMALIZATIONS, 3)
def instance_normalization(rng, shape):
    return "InstanceNormalization()"


@enter(NORMALIZATIONS, 1, 2, 3)
def unit_normalization(rng, shape):
    return f"layers.UnitNormalization(axis={rng.choice([-1, -1, 1])})"


@enter(NORMALIZATIONS, 1, 2, 3)
def adapted_normalization(rng, shape):
    return "layers.Normalization()"


@enter(ELEMENTWISE, 1, 2, 3, 4)
def activation_layer(rng, shape):
    return rng.choice(
        [f"layers.Activation('{name}')" for name in ACTIVATIONS]
        + ["layers.ReLU()", "layers.LeakyReLU(0.3)", "layers.ELU()"]
    )


@enter(ELEMENTWISE, 1, 2, 3, 4)
def prelu(rng, shape):
    axes = [axis for axis in range(1, len(shape) + 1) if rng.random() < 0.5]
    return f"layers.PReLU(shared_axes={axes or None})"


@enter(ELEMENTWISE, 1, 2, 3)
def softmax(rng, shape):
    return f"layers.Softmax(axis={rng.choice([-1, 1])})"


@enter(ELEMENTWISE, 1, 2, 3, 4)
def rescaling(rng, shape):
    scale, offset = (
        rng.choice([str(number), f"({number} * steps({shape[-1]})).tolist()"])
        for number in (1.5, rng.choice([0.0, 0.5]))
    )
    return f"layers.Rescaling({scale}, offset={offset})"


@enter(ELEMENTWISE, 1, 2, 3, 4)
def nothing_at_inference(rng, shape):
    names = ["Dropout(0.3)", "GaussianNoise(0.1)", "GaussianDropout(0.1)"]
    names += ["AlphaDropout(0.1)", "Identity()", "ActivityRegularization(0.1)"]
    if len(shape) > 1:
        names.append(f"SpatialDropout{len(shape) - 1}D(0.2)")
    return f"layers.{rng.choice(names)}"


@enter(SPATIAL, 2, 3, 4)
def pooling(rng, shape):
    kind = rng.choice(["Max", "Average"])
    padding = "same" if min(shape[:-1]) < 4 else rng.choice(["same", "valid"])
    strides = rng.choice([1, 2])
    return (
        f"layers.{kind}Pooling{len(shape) - 1}D(2, strides={strides}, "
        f"padding='{padding}')"
    )


@enter(SPATIAL, 2, 3, 4)
def global_pooling(rng, shape):
    kind = rng.choice(["Max", "Average"])
    keepdims = rng.choice([False, True])
    return f"layers.Global{kind}Pooling{len(shape) - 1}D(keepdims={keepdims})"


@enter(SPATIAL, 2, 3)
def adaptive_pooling(rng, shape):
    kind = rng.choice(["Max", "Average"])
    if min(shape[:-1]) == 1:
        kind = "Average"  # The maximum of one position kills TensorFlow.
    return f"layers.Adaptive{kind}Pooling{len(shape) - 1}D(2)"


@enter(SPATIAL, 2, 3)
def zero_padding(rng, shape):
    return f"layers.ZeroPadding{len(shape) - 1}D({rng.choice([1, 2])})"


@enter(SPATIAL, 2, 3, 4)
def cropping(rng, shape):
    if min(shape[:-1]) < 4:
        return None
    return f"layers.Cropping{len(shape) - 1}D(1)"


@enter(SPATIAL, 2, 3, 4)
def upsampling(rng, shape):
    if math.prod(shape[:-1]) > 20:
        return None
    kinds = ["", ", interpolation='bilinear'"] if len(shape) == 3 else [""]
    return f"layers.UpSampling{len(shape) - 1}D(2{rng.choice(kinds)})"


@enter(SPATIAL, 3)
def resizing(rng, shape):
    how = rng.choice(["bilinear", "nearest"])
    sizes = f"{rng.randint(2, 5)}, {rng.randint(2, 5)}"
    return f"layers.Resizing({sizes}, interpolation='{how}')"


@enter(MOVEMENT, 2, 3, 4)
def flatten(rng, shape):
    return rng.choice(["layers.Flatten()", "layers.Reshape((-1,))"])


@enter(MOVEMENT, 2, 3, 4)
def permute(rng, shape):
    axes = list(range(1, len(shape) + 1))
    rng.shuffle(axes)
    return f"layers.Permute({tuple(axes)})"


@enter(MOVEMENT, 1)
def repeat_vector(rng, shape):
    return f"layers.RepeatVector({rng.choice([2, 3])})"


@enter(MOVEMENT, 1, 2, 3)
def split_an_axis(rng, shape):
    axis = rng.randrange(len(shape))
    parts = rng.choice(divisors(shape[axis]) or [1])
    split = (parts, shape[axis] // parts)
    return f"layers.Reshape({(*shape[:axis], *split, *shape[axis + 1:])})"


@enter(MOVEMENT, 2, 3, 4)
def merge_axes(rng, shape):
    axis = rng.randrange(len(shape) - 1)
    size = rng.choice([-1, shape[axis] * shape[axis + 1]])
    return f"layers.Reshape({(*shape[:axis], size, *shape[axis + 2:])})"


@enter(MOVEMENT, 2, 3)
def any_reshape(rng, shape):
    """The sizes in another order: numbers move across all axes."""
    sizes = list(shape)
    rng.shuffle(sizes)
    return f"layers.Reshape({tuple(sizes)})"


@enter(RECURRENT, 2)
def recurrent(rng, shape):
    kind = rng.choice(["SimpleRNN", "GRU", "LSTM"])
    sequences = rng.choice([True, False])
    extra = rng.choice(["", "", ", go_backwards=True", ", use_bias=False"])
    if kind == "GRU":
        extra += rng.choice(["", ", reset_after=False"])
    return (
        f"layers.{kind}({rng.choice(CHANNELS)}, "
        f"return_sequences={sequences}{extra})"
    )


@enter(RECURRENT, 2)
def bidirectional(rng, shape):
    inner = recurrent(rng, shape).replace(", go_backwards=True", "")
    mode = rng.choice(["concat", "sum", "mul", "ave"])
    return f"layers.Bidirectional({inner}, merge_mode='{mode}')"
