"""What a model costs, in numbers."""

from fritz_compress.analysis.profile import Profile, profile

__all__ = ["Profile", "profile"]
