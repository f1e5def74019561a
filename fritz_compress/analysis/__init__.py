"""What a model costs, in numbers."""

from fritz_compress.analysis.profile import LayerProfile, Profile, profile

__all__ = ["LayerProfile", "Profile", "profile"]
