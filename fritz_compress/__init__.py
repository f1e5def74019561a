"""Keras 3 networks small enough for a phone, and the proof.

Verbs at the top (`fc.remove_filters`, `fc.to_tflite`), nouns in Keras' own
namespaces (`fc.layers`, `fc.callbacks`). Modules are imported on first use.

>>> import fritz_compress as fc
>>> model = fc.models.load_pretrained("starry_night_student", (480, 640))
>>> print(fc.to_coreml(model, "starry_night.mlmodel", nbits=8))
"""

import importlib

_VERBS = {
    "binarize": "binarization",
    "channel_groups": "surgery",
    "convert_to_binary": "binarization",
    "factorize": "surgery",
    "load_compressed": "storage",
    "profile": "analysis",
    "prune_filters": "surgery",
    "quantization_aware": "quantization",
    "quantize_weights": "quantization",
    "remove_filters": "surgery",
    "remove_pruned_filters": "surgery",
    "save_compressed": "storage",
    "to_coreml": "convert",
    "to_tflite": "convert",
}
_NOUNS = (
    "analysis",
    "binarization",
    "callbacks",
    "convert",
    "distillation",
    "graph",
    "interop",
    "layers",
    "losses",
    "models",
    "quantization",
    "quantizers",
    "storage",
    "surgery",
    "training",
)

__all__ = sorted([*_VERBS, *_NOUNS])


def __getattr__(name):
    if name in _VERBS:
        module = importlib.import_module(f"{__name__}.{_VERBS[name]}")
        return getattr(module, name)
    if name in _NOUNS:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__():
    return [*__all__, "__version__"]
