"""Who reads the hidden units inside blocks of KerasHub: for the oracle."""

import re

# By the argument that sets their number: how paths of the weights end.
READERS = {
    "mlp_dim": r"/mlp/dense_2/kernel",
    "moe_intermediate_dim": r"/expert_feedforward_output_dense",
    "shared_expert_intermediate_dim": r"/shared.*output_dense/kernel",
    "shared_expert_intermediate_size": r"/shared.*output_dense/kernel",
    "intermediate_size": r"/(feedforward_output_dense|down_proj)/kernel",
    "intermediate_dim": (
        r"/((feedforward_|mlp_)?output_dense|ffw_linear|down_proj|fc2|dense_2"
        r"|dense_4h_to_h|output_projector|RWKV_CMIX/dense_v)/kernel"
        r"|/expert_feedforward_output_dense|/down_proj"
    ),
}
_ATTENTION = re.compile("/(self_|cross_)?(attention|attn|mha)[^/]*/")


def is_block(layer) -> bool:
    """Whether a layer is one of KerasHub."""
    return type(layer).__module__.split(".")[0] == "keras_hub"


def reading(layer, part: str) -> list:
    """Weights whose last axis but one is that of a block's hidden units."""
    pattern = re.compile(rf"({READERS[part]})$")
    found = [
        weight
        for weight in layer.weights
        if pattern.search(weight.path) and not _ATTENTION.search(weight.path)
    ]
    if not found:
        raise LookupError(f"Nothing in {layer.name} reads its {part}.")
    return found
