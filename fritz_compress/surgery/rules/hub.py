"""Blocks of KerasHub: the hidden width of their feed-forward parts.

A block of a transformer is one layer there. How wide its residual stream and
its heads are follows from its input, so those stay; the width between the
two matrices of its feed-forward part is an argument. The classes are known
by name, and KerasHub is never imported.
"""

import dataclasses
import fnmatch
from collections.abc import Callable

import keras
import numpy as np

from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.rules.activations import is_elementwise, keeps_zero
from fritz_compress.surgery.rules.table import rule
from fritz_compress.surgery.values import Strand, Value

# Functions that KerasHub has of its own or knows by these names.
_KEEP_ZERO = ("gelu", "gelu_approximate", "quick_gelu", "relu", "silu")


@dataclasses.dataclass(frozen=True)
class _Hidden:
    """A width inside a block.

    Attributes:
        key: The block's argument that sets it.
        makes: Attributes, as patterns, of the layers or weights that make it,
            along the last axis.
        reads: The same of those that read it, along the axis before.
        joined: How the labels repeat where one weight makes gates as well.
    """

    key: str
    makes: tuple[str, ...]
    reads: str
    joined: Callable[[np.ndarray, int], np.ndarray] = np.tile


def _feed_forward(key="intermediate_dim", prefix="feedforward_"):
    return _Hidden(
        key,
        (f"{prefix}intermediate_dense", f"{prefix}gate_dense"),
        f"{prefix}output_dense",
    )


def _projections(key="intermediate_dim", prefix="mlp."):
    return _Hidden(
        key,
        (f"{prefix}up_proj", f"{prefix}gate_proj"),
        f"{prefix}down_proj",
    )


def _experts(key, bank):
    """Experts have one weight for all of them, and one width."""
    return _feed_forward(key, f"{bank}.expert_bank.expert_feedforward_")


def _stack(key, block, first, second):
    """Blocks of one layer share the argument, and so lose the same units."""
    return _Hidden(key, (f"{block}.*.{first}",), f"{block}.*.{second}")


_GEMMA = _Hidden(
    "intermediate_dim", ("gating_ffw", "gating_ffw_2"), "ffw_linear"
)
_CLIP = _Hidden("intermediate_dim", ("dense_1",), "dense_2")
_BLOCKS: dict[str, tuple[_Hidden, ...]] = {
    **dict.fromkeys(
        (
            "DisentangledAttentionEncoder GPTNeoXDecoder "
            "LlamaTransformerDecoder MistralTransformerDecoder Phi3Decoder "
            "Qwen3TransformerDecoder Qwen3_5TransformerDecoder "
            "QwenTransformerDecoder TransformerDecoder TransformerEncoder "
            "WhisperDecoder WhisperEncoder XLNetEncoder"
        ).split(),
        (_feed_forward(),),
    ),
    **dict.fromkeys(
        ("ESMEncoder", "RoformerV2Encoder"),
        (_feed_forward("intermediate_size"),),
    ),
    **dict.fromkeys(
        (
            "Gemma3DecoderBlock",
            "Gemma4TextDecoderBlock",
            "GemmaDecoderBlock",
            "PaliGemmaDecoderBlock",
        ),
        (_GEMMA,),
    ),
    **dict.fromkeys(
        (
            "EdRecDecoderBlock",
            "EdRecEncoderBlock",
        ),
        (_projections(),),
    ),
    **dict.fromkeys(
        (
            "SmolLM3DecoderLayer",
            "T5Gemma2DecoderLayer",
            "T5Gemma2EncoderLayer",
            "T5GemmaDecoderLayer",
            "T5GemmaEncoderLayer",
        ),
        (_projections("intermediate_size"),),
    ),
    **dict.fromkeys(("CLIPEncoderLayer", "MetaCLIP2EncoderLayer"), (_CLIP,)),
    "SigLIPEncoderLayer": (
        _Hidden("intermediate_dim", ("mlp.fc1",), "mlp.fc2"),
    ),
    "BloomDecoder": (_feed_forward(prefix="mlp_"),),
    "FNetEncoder": (_feed_forward(prefix=""),),
    "FalconTransformerDecoder": (
        _Hidden("intermediate_dim", ("dense_h_to_4h",), "dense_4h_to_h"),
    ),
    "T5TransformerLayer": (
        _Hidden(
            "intermediate_dim",
            ("input_projector", "gate_projector"),
            "output_projector",
        ),
    ),
    "RWKV7_Block": (_Hidden("intermediate_dim", ("ffn.key",), "ffn.value"),),
    "ViTEncoder": (
        _stack("mlp_dim", "encoder_layers", "mlp.dense_1", "mlp.dense_2"),
    ),
    "VideoPrismEncoder": (
        _stack(
            "intermediate_dim", "encoder_layers", "mlp.dense_1", "mlp.dense_2"
        ),
    ),
    "DINOV2Encoder": (
        _stack("intermediate_dim", "layers", "mlp.fc1", "mlp.fc2"),
    ),
    "DINOV3Encoder": (_projections(prefix="layers.*.mlp."),),
    "MixtralTransformerDecoder": (
        _experts("intermediate_dim", "sparse_moe_block"),
    ),
    "Qwen3MoeTransformerDecoder": (_experts("moe_intermediate_dim", "mlp"),),
    "QwenMoeTransformerDecoder": (
        _experts("moe_intermediate_dim", "mlp"),
        _feed_forward(
            "shared_expert_intermediate_dim",
            "mlp.shared_expert_dense.feedforward_",
        ),
    ),
    "Qwen3_5MoeTransformerDecoder": (
        _experts("moe_intermediate_dim", "mlp"),
        _feed_forward(
            "shared_expert_intermediate_size",
            "mlp.shared_expert.feedforward_",
        ),
    ),
    "GptOssTransformerDecoder": (
        _Hidden(
            "intermediate_dim",
            (
                "sparse_moe_block.experts.gate_up_proj",
                "sparse_moe_block.experts.gate_up_proj_bias",
            ),
            "sparse_moe_block.experts.down_proj",
            np.repeat,
        ),
    ),
}


@rule(*(f"keras_hub>{name}" for name in _BLOCKS))
def block(call: Call) -> list[Value]:
    """The stream and the heads stay, hidden units go."""
    for hidden in _BLOCKS[type(call.operation).__name__]:
        _shrink(call, hidden)
    for attribute in call.flow.variables(call.operation):
        call.weight(attribute)
    for index in range(len(call.node.inputs)):
        for strand in call.passing(index=index).values():
            call.freeze(strand.labels, "cannot change the width of its stream")
    reason = f"{call.flow.describe(call.operation)} keeps its outputs' width"
    return [Value(stays=reason) for _ in call.node.outputs]


def _shrink(call, hidden):
    variables = call.flow.variables(call.operation)
    making = _matching(variables, *hidden.makes)
    reading = [
        x for x in _matching(variables, hidden.reads) if x[-4:] != "bias"
    ]
    widths = {variables[attribute].shape[-2] for attribute in reading}
    configured = _configured(call.operation, hidden.key)
    if not making or len(widths) != 1 or not configured:
        raise Whole(f"sets no width of its weights by '{hidden.key}'")
    (width,) = widths
    if configured % width:
        raise Whole(f"is {width} wide for '{hidden.key}={configured}'")
    units = call.produce(width, hidden.key)
    for attribute in making:
        times = variables[attribute].shape[-1] // width
        call.weight(attribute, makes={-1: hidden.joined(units, times)})
    for attribute in reading:
        call.weight(attribute, reads={-2: units})
    call.configure(
        hidden.key, units, lambda kept: len(kept) * (configured // width)
    )
    call.reads(Strand(units, np.full_like(units, _revived(call, units))))


def _configured(layer, key):
    # Some do not keep it, others have a configuration that cannot be got.
    return getattr(layer, key, None) or layer.get_config().get(key)


def _revived(call, units):
    """What stands for the block if its activation makes something of zero."""
    names = ("activation", "hidden_activation", "intermediate_activation")
    found = (getattr(call.operation, name, None) for name in names)
    function = next((f for f in found if f is not None), None)
    if isinstance(function, keras.layers.Activation):
        function = function.activation
    if _name(function) in _KEEP_ZERO:
        return 0
    if is_elementwise(function):
        return 0 if keeps_zero(function) else call.number
    call.freeze(
        units, f"has the activation '{_name(function)}', which may mix them"
    )
    return call.number


def _name(function):
    """Name of a function of Keras or KerasHub, of others their class's."""
    if isinstance(function, str):
        return function
    function = getattr(function, "func", function)  # Of functools.partial.
    package = getattr(function, "__module__", "").split(".")[0]
    if package in ("keras", "keras_hub") and hasattr(function, "__name__"):
        return function.__name__
    return type(function).__name__


def _matching(variables, *patterns):
    """Attributes of weights, or of layers without the weight's own name."""
    return [
        attribute
        for attribute in variables
        for pattern in patterns
        if fnmatch.fnmatchcase(attribute, pattern)
        or fnmatch.fnmatchcase(
            attribute.removesuffix(".kernel").removesuffix(".bias"), pattern
        )
    ]
