"""Weights of a Core ML neural network in fewer bits.

coremltools' `quantize_weights` writes empty codebooks with the protobuf of
today and spends a full codebook on a vector of nine numbers; here every weight
gets the encoding that its size deserves.
"""

import dataclasses

import keras
import numpy as np

from fritz_compress.convert.neural_network import Network
from fritz_compress.convert.report import LayerReport
from fritz_compress.ops.codebooks import codebook_quantize
from fritz_compress.ops.codes import LinearCodes
from fritz_compress.ops.packing import pack_bits
from fritz_compress.ops.quantization import linear_quantize
from fritz_compress.ops.recognition import recognize, recognize_codebook
from fritz_compress.silence import silenced

MODES = ("linear", "kmeans")
MOST_BITS = 8  # Of a code.
# The first specification that knows float16, and that knows codes.
HALF_VERSION, CODES_VERSION = 2, 3
NARROW_BELOW = 6  # Bits: with more of them the full range is the best.
LARGEST_HALF = float(np.finfo("float16").max)


@dataclasses.dataclass(frozen=True)
class _Weight:
    """A weight in the specification.

    Attributes:
        message: Its `WeightParams`.
        shape: Shape as the specification has it.
        axis: Axis of the output channels; `None` for a vector.
    """

    message: object
    shape: tuple[int, ...]
    axis: int | None


@silenced()
def quantize_network(
    network: Network, nbits: int | None, mode: str = "linear"
) -> tuple[LayerReport, ...]:
    """Rewrites the float32 weights of a network in fewer bits, in place.

    A kernel that holds codes already, of up to `nbits` bits or with `None` of
    up to 8, is stored in them, which changes no number: evenly spaced ones
    per tensor or output channel, or one codebook. Other kernels of
    convolutions and dense layers get codes of `nbits` bits:

    - "linear": one scale and offset per output channel, over the range of
      least squared error.
    - "kmeans": one codebook per kernel, the optimal one. Where the codebook
      takes more bytes than it saves, the kernel is stored as "linear".

    Everything else (biases, normalizations) decides over whole channels and is
    stored as float16: for a few numbers that is also the smallest. Scales that
    are no weights of the model stay float32.

    Args:
        network: What `build_network` returned; its specification changes.
        nbits: 1 to 8, 16 for float16 everywhere, or `None` for float32.
        mode: "linear" or "kmeans", for 1 to 8 bits.

    Returns: one row for each Keras layer with weights.
    """
    notes: dict[str, list[str]] = {}
    spec = network.spec
    for layer in spec.neuralNetwork.layers:
        weights = _weights(layer, network.owners[layer.name])
        if nbits is None:
            _keep_codes(weights)
        else:
            notes[layer.name] = _quantize_layer(weights, nbits, mode)
    widths = {
        _bits(weight.message)
        for layer in spec.neuralNetwork.layers
        for weight in _weights(layer, network.owners[layer.name])
    }
    version = max(map(_version, widths), default=1)
    spec.specificationVersion = max(spec.specificationVersion, version)
    return _report(network, notes)


def _keep_codes(weights):
    """Stores kernels that hold codes in them."""
    for weight in weights:
        held = _held(_values(weight), weight.axis, MOST_BITS)
        if held is not None and held.ByteSize() < weight.message.ByteSize():
            weight.message.CopyFrom(held)


def _quantize_layer(weights, nbits, mode):
    """Replaces the weights of one layer; returns what is worth noting."""
    arrays = [_values(weight) for weight in weights]
    # A layer may not mix float32 and float16: one too large keeps them all.
    small = all(np.abs(values).max() <= LARGEST_HALF for values in arrays)
    notes = [] if small else ["too large for float16, kept as float32"]
    for weight, values in zip(weights, arrays):
        unquantized = _half(values) if small else _float(values)
        if weight.axis is None or nbits == 16:
            weight.message.CopyFrom(unquantized)
            continue
        coded, note = _coded(values, weight.axis, nbits, mode, unquantized)
        weight.message.CopyFrom(coded)
        notes += [note] if note else []
    return notes


def _coded(values, axis, nbits, mode, unquantized):
    """The encoding of a kernel, and a note if it is not the one asked for."""
    largest = unquantized.ByteSize()
    held = _held(values, axis, nbits)
    if held is not None and held.ByteSize() < largest:
        return held, ""
    if mode == "kmeans":
        coded = _with_codebook(codebook_quantize(values, nbits))
        if coded.ByteSize() < largest:
            return coded, ""
    coded = _linear(values, nbits, axis)
    if coded.ByteSize() < largest:
        no_codebook = "linear, as a codebook takes more than it saves"
        return coded, no_codebook if mode == "kmeans" else ""
    return unquantized, "too few numbers for codes"


def _weights(layer, owner):
    """All weights of a layer that come from weights of the Keras layer."""
    if not getattr(owner, "weights", []):
        return []  # What a `Rescaling` has is no weight.
    kind = layer.WhichOneof("layer")
    params = getattr(layer, kind)
    if kind == "convolution":
        shape = (params.kernelChannels, params.outputChannels)
        axis = 1 if params.isDeconvolution else 0
        shape = shape if params.isDeconvolution else shape[::-1]
        kernel = _Weight(params.weights, (*shape, *params.kernelSize), axis)
        return [kernel, *_vectors(params, ["bias"] * params.hasBias)]
    if kind == "innerProduct":
        shape = (params.outputChannels, params.inputChannels)
        kernel = _Weight(params.weights, shape, 0)
        return [kernel, *_vectors(params, ["bias"] * params.hasBias)]
    if kind == "batchnorm":
        statistics = [] if params.computeMeanVar else ["mean", "variance"]
        return _vectors(params, ["gamma", "beta", *statistics])
    if kind == "scale":
        return _vectors(params, ["scale", *["bias"] * params.hasBias])
    if kind == "bias":
        return _vectors(params, ["bias"])
    if kind == "activation" and params.HasField("PReLU"):
        return _vectors(params.PReLU, ["alpha"])
    return []


def _vectors(params, names):
    messages = [getattr(params, name) for name in names]
    return [
        _Weight(m, (len(m.floatValue) or len(m.float16Value) // 2,), None)
        for m in messages
    ]


def _values(weight):
    return np.array(weight.message.floatValue, "float32").reshape(weight.shape)


def _message():
    from coremltools.proto import NeuralNetwork_pb2

    return NeuralNetwork_pb2.WeightParams()


def _float(values):
    message = _message()
    message.floatValue.extend(values.reshape(-1).tolist())
    return message


def _half(values):
    message = _message()
    message.float16Value = values.astype("<f2").tobytes()
    return message


def _held(values, axis, nbits):
    """A kernel in the codes that it holds already, if it does."""
    if axis is None:
        return None
    per_tensor = (1,) * values.ndim
    found = [
        recognize(values, [per_tensor, _per_channel(values, axis)]),
        # For a few signs that is smaller than a grid through zero.
        recognize_codebook(values + np.float32(0), per_tensor),
    ]
    messages = [
        _with_levels(c) if isinstance(c, LinearCodes) else _with_codebook(c)
        for c in found
        if c is not None and c.nbits <= nbits and _is_known(c)
    ]
    return min(messages, key=lambda m: m.ByteSize(), default=None)


def _is_known(codes):
    """Whether Core ML has a form for codes: a codebook is of a whole kernel."""
    return isinstance(codes, LinearCodes) or set(codes.groups) == {1}


def _per_channel(values, axis):
    groups = [1] * values.ndim
    groups[axis] = values.shape[axis]
    return tuple(groups)


def _linear(values, nbits, axis):
    ranges = "least_squares" if nbits < NARROW_BELOW else "minmax"
    groups = _per_channel(values, axis)
    return _with_levels(linear_quantize(values, nbits, groups, ranges=ranges))


def _with_levels(codes):
    message = _packed(codes.codes, codes.nbits)
    parameters = message.quantization.linearQuantization
    parameters.scale.extend(codes.scale.reshape(-1).tolist())
    parameters.bias.extend(codes.offset.reshape(-1).tolist())
    return message


def _with_codebook(codes):
    message = _packed(codes.codes, codes.nbits)
    codebook = codes.codebooks.reshape(-1)
    padding = 2**codes.nbits - len(codebook)
    table = message.quantization.lookupTableQuantization
    table.floatValue.extend(np.pad(codebook, (0, padding), "edge").tolist())
    return message


def _packed(codes, nbits):
    message = _message()
    message.rawValue = pack_bits(codes, nbits)
    message.quantization.numberOfBits = nbits
    return message


def _bits(message):
    if message.rawValue:
        return message.quantization.numberOfBits
    return 16 if message.float16Value else 32


def _version(bits):
    """The first specification that knows numbers of so many bits."""
    if bits == 32:
        return 1
    return HALF_VERSION if bits == 16 else CODES_VERSION


def _report(network, notes):
    """One row for each Keras layer, however many layers it became."""
    parts: dict[keras.Layer, list] = {}
    noted: dict[keras.Layer, list[str]] = {}
    for layer in network.spec.neuralNetwork.layers:
        owner = network.owners[layer.name]
        parts.setdefault(owner, []).extend(_weights(layer, owner))
        noted.setdefault(owner, []).extend(notes.get(layer.name, []))
    return tuple(
        LayerReport(
            name=layer.name,
            kind=type(layer).__name__,
            bits=_bits(max(weights, key=_count).message),
            parameters=layer.count_params(),
            bytes=sum(weight.message.ByteSize() for weight in weights),
            note="; ".join(dict.fromkeys(noted[layer])),
        )
        for layer, weights in parts.items()
        if weights
    )


def _count(weight):
    return int(np.prod(weight.shape))
