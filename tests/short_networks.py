"""ShuffleNets with fewer units, so that tests of them take less time."""

from fritz_compress.models import ShuffleNetV1, ShuffleNetV2

REPEATS = (2, 3, 2)  # In place of (4, 8, 4).


class Short1(ShuffleNetV1):
    repeats = REPEATS


class Short2(ShuffleNetV2):
    repeats = REPEATS
