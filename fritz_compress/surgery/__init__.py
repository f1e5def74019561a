"""From a model to a new model: filters removed; the given one untouched."""

from fritz_compress.surgery import criteria
from fritz_compress.surgery.groups import (
    ChannelGroup,
    ChannelGroups,
    channel_groups,
)
from fritz_compress.surgery.pruning import prune_filters
from fritz_compress.surgery.removal import (
    remove_filters,
    remove_pruned_filters,
)
from fritz_compress.surgery.report import (
    LayerChange,
    RemovalReport,
    removal_report,
)

__all__ = [
    "ChannelGroup",
    "ChannelGroups",
    "LayerChange",
    "RemovalReport",
    "channel_groups",
    "criteria",
    "prune_filters",
    "removal_report",
    "remove_filters",
    "remove_pruned_filters",
]
