"""From a model to a new model: filters removed, kernels factorized.

The one given is not touched.
"""

from fritz_compress.surgery import criteria
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.config_by_layer import ConfigByLayer
from fritz_compress.surgery.factorization import (
    FactorizationConfig,
    FactorizationReport,
    FactorizedLayer,
    factorize,
)
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.folding import fold_normalization
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
from fritz_compress.surgery.rules import register_rule
from fritz_compress.surgery.values import Strand, Value

__all__ = [
    "Call",
    "ChannelGroup",
    "ChannelGroups",
    "ConfigByLayer",
    "FactorizationConfig",
    "FactorizationReport",
    "FactorizedLayer",
    "LayerChange",
    "RemovalReport",
    "Strand",
    "Value",
    "Whole",
    "channel_groups",
    "register_rule",
    "criteria",
    "factorize",
    "fold_normalization",
    "prune_filters",
    "removal_report",
    "remove_filters",
    "remove_pruned_filters",
]
