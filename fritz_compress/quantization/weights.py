"""A new model whose weights take few values."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from fritz_compress.checks import check_model, described
from fritz_compress.layers.binary_kernel import has_few_bits
from fritz_compress.ops.codebooks import codebook_quantize
from fritz_compress.ops.codes import Codes
from fritz_compress.ops.product_quantization import product_quantize
from fritz_compress.ops.quantization import linear_quantize, sqnr
from fritz_compress.quantization.config import WeightConfig
from fritz_compress.quantization.correction import (
    CORRECTED,
    error_corrected_codes,
)
from fritz_compress.quantization.granularity import groups_of, vectors_of
from fritz_compress.quantization.report import (
    QuantizationReport,
    QuantizedWeight,
)
from fritz_compress.surgery.config_by_layer import (
    ConfigByLayer,
    config_by_layer,
)
from fritz_compress.surgery.names import every_layer, every_weight
from fritz_compress.surgery.removal import remove_filters

# What Keras calls weights that are quantized whether they are trained or not.
KERNELS = (
    *("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel"),
    "embeddings",
)


def quantize_weights(
    model: keras.Model,
    config: Any = None,
    *,
    data: Any = None,
    importance: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> tuple[keras.Model, QuantizationReport]:
    """A new model whose kernels take the values that a few codes stand for.

    The model is a plain Keras model of the same names, which computes, trains
    and is saved as any other: its weights are float32 numbers that repeat.
    `to_coreml`, `to_tflite` and `save_compressed` find the codes in them and
    store these; `callbacks.CodebookFineTuning` trains on with shared weights.

    Quantized are kernels and embeddings, and other trained weights with two
    axes or more. Biases, normalizations and statistics stay: they are a few
    numbers that decide over whole channels; kernels of binary layers stay, as
    these have a quantizer of their own. The report lists every weight and
    says why one was left. Weights that are exactly zero stay zero.

    Args:
        model: A Functional or built Sequential model. It is not changed.
        config: A `WeightConfig` or a dictionary of its arguments; a
            `ConfigByLayer`, or a dictionary of its, for configurations by
            layer name and type; by default 8 bits, symmetric, per channel.
        data: Inputs as the model takes them, some tens of samples, for mode
            "product": the codebooks of `Conv2D` (without groups) and `Dense`
            layers then minimise the error of the layer's output on them, with
            an input that is quantized already (see
            `quantization.error_corrected_codes`).
        importance: For "kmeans" and "product": how much an error in each
            number counts, by the name of the weight in the report, such as
            `"conv_1/kernel"`, in its shape; see
            `quantization.squared_gradients`. Numbers not listed count alike.
        seed: For random starts and product quantization.

    Returns: the model, compiled as `model` is, and the report.

    Raises:
        TypeError: for what is no model or no configuration.
        ValueError: for a model without a graph, weights that are not finite,
            a configuration for layers that the model does not have, or data
            that no layer would use.

    References: Han, Mao and Dally, "Deep Compression",
    https://arxiv.org/abs/1510.00149, section 3, for shared weights; Choi,
    El-Khamy and Lee, "Towards the Limit of Network Quantization",
    https://arxiv.org/abs/1612.01543, section 3, for their importance; Wu et
    al., https://arxiv.org/abs/1512.06473, section 3.3, for corrected products.

    Example: 4 bits, but 8 in the first layer, and the classifier as it is.

    >>> smaller, report = quantize_weights(
    ...     model,
    ...     {
    ...         "global_config": {"nbits": 4, "mode": "kmeans"},
    ...         "layer_name_configs": {"conv_1": {"nbits": 8}, "logits": None},
    ...     },
    ... )
    >>> print(report)
    """
    report = encode_weights(
        model, config, data=data, importance=importance, seed=seed
    )
    smaller = remove_filters(model, {})
    new = {
        f"{name}/{attribute}": weight
        for name, _, attribute, weight in every_weight(smaller)
    }
    for row in report.weights:
        if row.codes is not None:
            new[row.name].assign(row.codes.decode())
    return smaller, report


def encode_weights(
    model: keras.Model,
    config: Any = None,
    *,
    data: Any = None,
    importance: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> QuantizationReport:
    """What `quantize_weights` would do, without the new model.

    Args:
        model: Any built model. It is not changed.
        config, data, importance, seed: As in `quantize_weights`.

    Returns: a row for every weight, in the order of `every_weight`.
    """
    check_model(model)
    configs = config_by_layer(config, WeightConfig)
    slots = list(_slots(model, configs))
    _check_importance(importance, slots)
    made = _corrected(model, slots, data, seed)
    return QuantizationReport(
        tuple(_quantized(slot, made, importance or {}, seed) for slot in slots)
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Slot:
    """A weight of a model, and what is to be done with it."""

    path: str
    layer: keras.Layer
    attribute: str
    weight: keras.Variable
    config: WeightConfig | None


def _slots(model: keras.Model, configs: ConfigByLayer) -> Iterator[_Slot]:
    """Every weight once, in the order of the layers."""
    configs.check_used((name, layer) for _, name, layer in every_layer(model))
    for name, layer, attribute, weight in every_weight(model):
        config = configs.of(name, layer)
        yield _Slot(f"{name}/{attribute}", layer, attribute, weight, config)


def _corrected(model, slots, data, seed):
    """Product codes by name of the weight, fitted to outputs on data."""
    if data is None:
        return {}
    fitted = {
        slot.path.removesuffix("/kernel"): slot.config
        for slot in slots
        if slot.config is not None
        and slot.config.mode == "product"
        and slot.config.vectors == "inputs"
        and isinstance(slot.layer, CORRECTED)
        and slot.attribute == "kernel"
        and not has_few_bits(slot.layer)
        and getattr(slot.layer, "groups", 1) == 1
    }
    if not fitted:
        raise ValueError(
            "`data` corrects the codebooks of mode 'product' in layers of "
            "class Conv2D and Dense. Received: a model and a configuration "
            "without any. Leave it out."
        )
    codes = error_corrected_codes(model, fitted, data, seed=seed)
    return {f"{name}/kernel": found for name, found in codes.items()}


def _quantized(slot, made, importance, seed):
    """The row of the report for a weight.

    Args:
        made: Codes by name, for weights that have them already.
    """
    values = keras.ops.convert_to_numpy(slot.weight)
    row = QuantizedWeight(
        name=slot.path,
        kind=type(slot.layer).__name__,
        shape=values.shape,
        bytes_before=values.nbytes,
        bytes=values.nbytes,
        nbits=8 * values.itemsize,
        note=_reason_to_skip(slot, values),
    )
    if row.note:
        return row
    if not np.isfinite(values).all():
        raise ValueError(
            f"Weight '{slot.path}' must be finite. Received: "
            f"{int((~np.isfinite(values)).sum())} numbers that are not. Go "
            "back to weights from before training diverged."
        )
    if slot.path in made:
        codes, note = made[slot.path], "corrected on data"
    else:
        codes, note = _codes(slot, values, importance.get(slot.path), seed)
    if codes.nbytes >= values.nbytes:
        note = f"codes would take more: {codes.nbytes:,} bytes"
        return dataclasses.replace(row, note=note)
    restored = codes.decode()
    return dataclasses.replace(
        row,
        bytes=codes.nbytes,
        nbits=codes.nbits,
        mode=slot.config.mode,
        granularity=slot.config.granularity,
        sqnr=sqnr(values, restored),
        max_error=float(np.abs(values - restored).max()),
        note=note,
        codes=codes,
    )


def _codes(slot, values, importance, seed) -> tuple[Codes, str]:
    """The codes of a weight, and what is worth noting."""
    config, shape = slot.config, values.shape
    if config.mode == "product":
        axis, length, groups, note = vectors_of(
            slot.layer, slot.attribute, shape, config
        )
        codes = product_quantize(
            values, config.nbits, length, axis, groups, importance, seed
        )
        return codes, note
    groups, note = groups_of(slot.layer, slot.attribute, shape, config)
    if config.mode == "kmeans":
        codes = codebook_quantize(
            values, config.nbits, groups, importance, config.start, seed
        )
        return codes, note
    codes = linear_quantize(
        values,
        config.nbits,
        groups,
        symmetric=config.mode == "linear_symmetric",
        # With one bit, two levels of which one is zero would be half a code.
        zero=True if config.nbits > 1 else None,
        ranges=config.levels_between,
        percentile=config.percentile,
    )
    return codes, note


def _reason_to_skip(slot, values):
    """Why a weight stays as it is, empty if it does not."""
    dtype = keras.backend.standardize_dtype(slot.weight.dtype)
    if dtype != "float32":
        return f"holds {dtype}; only float32 numbers are given codes"
    if has_few_bits(slot.layer) and slot.attribute == "kernel":
        return f"its layer makes {slot.layer.kernel_bits}-bit numbers of it"
    if slot.attribute.endswith("bias"):
        return "one number per channel"
    if np.count_nonzero(np.array(values.shape) > 1) < 2:
        if slot.attribute not in KERNELS:
            return "one number per channel"
        if values.size < 2:
            return "a single number"
    if slot.attribute not in KERNELS and not slot.weight.trainable:
        return "not trained, so a statistic or a constant"
    if slot.config is None:
        return "left by the configuration"
    if values.size < slot.config.weight_threshold:
        threshold = slot.config.weight_threshold
        return f"fewer numbers than weight_threshold={threshold}"
    return ""


def _check_importance(importance, slots):
    if importance is None:
        return
    if not isinstance(importance, Mapping):
        raise TypeError(
            "`importance` must be a mapping from names of weights, such as "
            "'conv_1/kernel', to arrays. Received: "
            f"{described(importance)}."
        )
    shapes = {slot.path: tuple(slot.weight.shape) for slot in slots}
    for name, values in importance.items():
        if np.shape(values) != shapes.get(name):
            raise ValueError(
                "`importance` must have arrays in the shapes of the weights. "
                f"Received: shape {np.shape(values)} for '{name}', which has "
                f"{shapes.get(name, 'no such weight')}."
            )
