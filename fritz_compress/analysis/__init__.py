"""What a model costs, and which of its layers bear pruning or fewer bits."""

from fritz_compress.analysis import plots
from fritz_compress.analysis.bits import suggest_bits
from fritz_compress.analysis.bits_table import (
    BitsRow,
    SuggestedBits,
    UniformBits,
)
from fritz_compress.analysis.latency import LatencyRow, LatencyTable
from fritz_compress.analysis.profile import profile
from fritz_compress.analysis.profile_result import LayerProfile, Profile
from fritz_compress.analysis.sensitivity import sensitivity
from fritz_compress.analysis.sensitivity_table import (
    SensitivityRow,
    SensitivityTable,
)
from fritz_compress.analysis.signal_to_noise import (
    SignalToNoiseRow,
    SignalToNoiseTable,
    signal_to_noise,
)
from fritz_compress.costs import Call, Cost, register_cost

__all__ = [
    "BitsRow",
    "Call",
    "Cost",
    "LatencyRow",
    "LatencyTable",
    "LayerProfile",
    "Profile",
    "SensitivityRow",
    "SensitivityTable",
    "SignalToNoiseRow",
    "SignalToNoiseTable",
    "SuggestedBits",
    "UniformBits",
    "plots",
    "profile",
    "register_cost",
    "sensitivity",
    "signal_to_noise",
    "suggest_bits",
]
