"""What a model costs, and which of its layers bear pruning or fewer bits."""

from fritz_compress.analysis import plots
from fritz_compress.analysis.bits import suggest_bits
from fritz_compress.analysis.bits_table import (
    BitsRow,
    SuggestedBits,
    UniformBits,
)
from fritz_compress.analysis.profile import Profile, profile
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

__all__ = [
    "BitsRow",
    "Profile",
    "SensitivityRow",
    "SensitivityTable",
    "SignalToNoiseRow",
    "SignalToNoiseTable",
    "SuggestedBits",
    "UniformBits",
    "plots",
    "profile",
    "sensitivity",
    "signal_to_noise",
    "suggest_bits",
]
