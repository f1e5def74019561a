"""The table of what layers do to axes, and the axes that are known."""

from fritz_compress.analysis.receptive_field.strips import Strip
from fritz_compress.graph import Node
from fritz_compress.rule_table import RuleTable

Strips = dict[int, Strip]  # By axis of the tensor.

_TABLE = RuleTable()
rule = _TABLE.rule


def strips_after(node: Node, inputs: list[Strips]) -> Strips:
    """The axes of a call's outputs that are still known.

    Args:
        node: The call.
        inputs: The axes of each input that are known.
    """
    found = _TABLE.find(type(node.operation))
    if found is None or not inputs:
        return {}
    strips = found(node, inputs)
    return {axis: strip for axis, strip in strips.items() if strip is not None}
