"""Which layer was meant by a name that is not there."""

import pytest

from fritz_compress.suggestions import nearest
from fritz_compress.surgery.names import listed_reasons


@pytest.mark.parametrize(
    "name, known, meant",
    [
        ("con", ["conv_4", "conv", "other"], ["conv"]),
        ("block_1", ["block_12_conv", "block_1_conv"], ["block_1_conv"]),
        ("conv_44", ["conv", "conv_4"], ["conv_4"]),
        ("cnov", ["conv", "dense"], ["conv"]),
        ("", ["conv"], []),
        ("xyz", ["conv"], []),
    ],
)
def test_the_nearest_name(name, known, meant):
    assert nearest(name, known) == meant


def test_reasons_follow_a_sentence():
    assert listed_reasons([]) == ""
    reasons = [("a, b", "an output"), ("c", "has no rule")]
    assert listed_reasons(reasons) == " a, b: an output; c: has no rule"
