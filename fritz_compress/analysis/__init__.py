"""What a model costs, and which of its layers bear pruning."""

from fritz_compress.analysis import plots
from fritz_compress.analysis.profile import Profile, profile
from fritz_compress.analysis.sensitivity import sensitivity
from fritz_compress.analysis.sensitivity_table import (
    SensitivityRow,
    SensitivityTable,
)

__all__ = [
    "Profile",
    "SensitivityRow",
    "SensitivityTable",
    "plots",
    "profile",
    "sensitivity",
]
