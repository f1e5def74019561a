"""What the arguments of a layer are called in Keras 3 and in tf_keras.

Only dictionaries are handled here, so tf_keras is not needed.
"""

from collections.abc import Mapping
from typing import Any

# Layers that both have, with the same arguments but for those listed below.
LAYERS = frozenset("""
    Activation ActivityRegularization Add AdditiveAttention AlphaDropout
    Attention Average AveragePooling1D AveragePooling2D AveragePooling3D
    BatchNormalization Bidirectional CenterCrop Concatenate Conv1D
    Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D
    ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D Cropping3D Dense
    DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding
    Flatten GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D
    GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization Identity LSTM
    LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D
    MaxPooling3D Maximum Minimum MultiHeadAttention Multiply Normalization
    PReLU Permute RNN ReLU RepeatVector Rescaling Reshape Resizing
    SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax
    SpatialDropout1D SpatialDropout2D SpatialDropout3D StackedRNNCells
    Subtract TimeDistributed UnitNormalization UpSampling1D
    UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
""".split())
RECURRENT = frozenset("""
    Bidirectional ConvLSTM1D ConvLSTM2D ConvLSTM3D GRU LSTM RNN SimpleRNN
""".split())

_ANY = object()
_UNIT = ((1,), (1, 1), (1, 1, 1), 1)
# Arguments of one side alone, and what they must be for the other side to
# compute the same. Seeds are nobody's function.
_ONLY_KERAS = {
    "antialias": (False,),
    "fill_mode": _ANY,
    "fill_value": _ANY,
    "flash_attention": _ANY,
    "gptq_unpacked_column_size": _ANY,
    "lora_alpha": _ANY,
    "lora_rank": (None,),
    "pad_to_aspect_ratio": (False,),
    "quantization_config": (None,),
    "renorm": (False,),
    "renorm_clipping": _ANY,
    "renorm_momentum": _ANY,
    "rms_scaling": (False,),
    "sliding_window": (None,),
    "synchronized": (False,),
    "use_cudnn": _ANY,
    "use_gate": (False,),
}
_SEEDLESS = RECURRENT | {
    *("AdditiveAttention", "Attention", "MultiHeadAttention"),
    *("GRUCell", "LSTMCell", "SimpleRNNCell"),
}
_FORMATLESS = {"CenterCrop", "Resizing", "ZeroPadding1D"}
_ONLY_TF_KERAS = {
    "batch_input_shape": _ANY,
    "dynamic": (False,),
    "implementation": _ANY,
    "input_length": _ANY,
    "key_shape": _ANY,
    "query_shape": _ANY,
    "robust_masking": (False,),
    "softmax_robust_masking": (False,),
    "sparse": (False,),
    "time_major": (False,),
    "value_shape": _ANY,
}
_UNGROUPED = {
    *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("DepthwiseConv1D", "DepthwiseConv2D"),
    *("SeparableConv1D", "SeparableConv2D"),
}

_SAME_ACTIVATIONS = frozenset("""
    elu exponential gelu linear mish relu selu sigmoid softmax softplus
    softsign tanh
""".split())
_INITIALIZERS = frozenset("""
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity
    LecunNormal LecunUniform Ones Orthogonal RandomNormal RandomUniform
    TruncatedNormal VarianceScaling Zeros
""".split())
_PENALTIES = {
    "regularizer": ("L1", "L1L2", "L2", "OrthogonalRegularizer"),
    "constraint": ("MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"),
}


def to_tf_keras_config(
    kind: str, config: Mapping[str, Any], name: str
) -> tuple[str, dict[str, Any]]:
    """A Keras 3 layer's class and arguments as those of tf_keras.

    Args:
        kind: Name of the class, such as `"Conv2D"`.
        config: What `get_config` returned.
        name: Of the layer, for errors.

    Returns: name of the class in tf_keras, and its config.

    Raises:
        ValueError: if tf_keras cannot compute the same.
    """
    only = dict(_ONLY_KERAS)
    if kind in _SEEDLESS:
        only["seed"] = _ANY
    if kind.startswith("SpatialDropout"):
        only["trainable"] = _ANY
    if kind in _FORMATLESS:
        only["data_format"] = ("channels_last",)
    if kind == "Conv3DTranspose":
        only["dilation_rate"] = _UNIT
    config = _without(config, only, kind, name, "tf_keras")
    if kind == "Activation" and config["activation"] in _AS_LAYERS:
        kind, settings = _AS_LAYERS[config.pop("activation")]
        config.update(settings)
    elif kind == "LeakyReLU":
        config["alpha"] = config.pop("negative_slope")
    names = {"silu": "swish"}
    return kind, _translated(kind, config, name, names, to_tf_keras_config)


def from_tf_keras_config(
    kind: str, config: Mapping[str, Any], name: str
) -> tuple[str, dict[str, Any]]:
    """A tf_keras layer's class and arguments as those of Keras 3.

    Args and returns as for `to_tf_keras_config`, the other way.

    Raises:
        ValueError: if Keras 3 cannot compute the same.
    """
    only = dict(_ONLY_TF_KERAS)
    if kind in _UNGROUPED:
        only["groups"] = (1,)
        only |= dict.fromkeys(_kernel_arguments(kind), _ANY)
    if kind in ("Embedding", "EinsumDense"):
        only["activity_regularizer"] = (None,)
    if kind.startswith("SpatialDropout"):
        only |= {"trainable": _ANY, "noise_shape": (None,)}
    config = _without(config, only, kind, name, "Keras 3")
    if kind == "LeakyReLU":
        config["negative_slope"] = config.pop("alpha")
    if kind == "BatchNormalization" and not isinstance(config["axis"], int):
        (config["axis"],) = config["axis"]
    names = {"swish": "silu"}
    return kind, _translated(kind, config, name, names, from_tf_keras_config)


_AS_LAYERS = {
    "leaky_relu": ("LeakyReLU", {"alpha": 0.2}),
    "relu6": ("ReLU", {"max_value": 6.0}),
}


def _kernel_arguments(kind):
    """Arguments that tf_keras lists for kernels that these do not have."""
    if kind.endswith("Transpose"):
        return ()
    return ("kernel_initializer", "kernel_regularizer", "kernel_constraint")


def _without(config, only, kind, name, other):
    """The config without what only one side has, if nothing is lost."""
    for key, neutral in only.items():
        if key in config and neutral is not _ANY:
            if _plain(config[key]) not in neutral:
                raise ValueError(
                    f"Layer '{name}' ({kind}) must have `{key}={neutral[0]}`, "
                    f"as {other} knows nothing else. Received: "
                    f"{key}={config[key]!r}. Build it without this argument."
                )
    return {key: v for key, v in config.items() if key not in only}


def _translated(kind, config, name, activations, translate):
    translated = {}
    for key, value in config.items():
        last = key.rpartition("_")[2]
        if key == "dtype":
            value = _policy_name(value, kind, name)
        elif last == "initializer":
            value = _initializer(value)
            if value is None:
                continue
        elif last == "activation" and value is not None:
            value = _activation(value, activations, kind, name)
        elif last in _PENALTIES:
            _check_penalty(value, _PENALTIES[last], key, kind, name)
        elif isinstance(value, Mapping) and "class_name" in value:
            value = _nested(value, name, translate)
        elif key == "cells":
            value = [_nested(cell, name, translate) for cell in value]
        translated[key] = _plain(value)
    return translated


def _nested(value, name, translate):
    """The config of a layer inside a layer."""
    check_kind(value["class_name"], name)
    kind, config = translate(value["class_name"], value["config"], name)
    return _serialized("layers", kind, config)


def check_kind(kind: str, name: str) -> None:
    """Raises a ValueError if one side has no such layer."""
    if kind not in LAYERS:
        raise ValueError(
            f"Layer '{name}' must be one that Keras 3 and tf_keras both have. "
            f"Received: a {kind}. Replace it with layers such as "
            "GroupNormalization, Rescaling or ReLU, or split the model and "
            "convert the parts around it."
        )


def _policy_name(value, kind, name):
    if isinstance(value, Mapping):
        if value["class_name"] not in ("DTypePolicy", "Policy"):
            raise ValueError(
                f"Layer '{name}' ({kind}) must have a plain dtype policy, "
                f"such as 'mixed_float16'. Received: {value['class_name']}. "
                "Convert the model before it is quantized."
            )
        value = value["config"]["name"]
    return value


def _initializer(value):
    """The values are overwritten, so the default may stand for a custom one."""
    if not isinstance(value, Mapping):
        return None
    if value["class_name"] not in _INITIALIZERS:
        return None
    axes = ("input_axes", "output_axes")
    config = {k: v for k, v in value["config"].items() if k not in axes}
    return _serialized("initializers", value["class_name"], config)


def _serialized(module, kind, config):
    return {
        "module": f"keras.{module}",
        "class_name": kind,
        "config": config,
        "registered_name": None,
    }


def _activation(value, names, kind, name):
    if isinstance(value, str):
        value = names.get(value, value)
        if value in _SAME_ACTIVATIONS or value in names.values():
            return value
    else:
        value = value.get("class_name", value)
    remedy = "Put a layer of its own, such as LeakyReLU, after it."
    if value == "hard_sigmoid":
        remedy = (
            "Keras 3 divides by 6, tf_keras by 5: write ReLU(6.0)(x + 3) / 6 "
            "or clip(0.2 * x + 0.5) with layers that both have."
        )
    raise ValueError(
        f"Layer '{name}' ({kind}) must have an activation that Keras 3 and "
        f"tf_keras both have: {', '.join(sorted(_SAME_ACTIVATIONS))} or silu. "
        f"Received: '{value}'. {remedy}"
    )


def _check_penalty(value, known, key, kind, name):
    if value is not None and (
        not isinstance(value, Mapping) or value["class_name"] not in known
    ):
        received = value["class_name"] if isinstance(value, Mapping) else value
        raise ValueError(
            f"Layer '{name}' ({kind}) must have a `{key}` that Keras 3 and "
            f"tf_keras both have: {', '.join(known)} or None. Received: "
            f"{received}. Build the layer with one of those."
        )


def _plain(value):
    """Lists and tuples of tf_keras' tracked kinds as ordinary ones."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_plain(entry) for entry in value)
    return value
