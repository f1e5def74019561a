"""Parameters and multiply-accumulates of every builder, to the last digit."""

import re

import numpy as np
import paper_arithmetic
import pytest

from fritz_compress import models
from fritz_compress.analysis import profile

# Network, its parameters, those that are trained, its multiply-accumulates
# (MACs); then, in millions, trained parameters and MACs as papers, authors or
# torchvision print them. MACs of ShuffleNets are printed with one digit more
# than in the papers, which leave out the last layer (version 1) or count other
# operations too (version 2). The authors' ShuffleNetV1 has no bias in the last
# layer, so 1,000 parameters fewer.
ROWS = """
MobileNetV1(alpha=1.0)      | 4253864 | 4231976 | 568740352 | 4.2 | 569
MobileNetV1(alpha=0.75)     | 2601976 | 2585560 | 325400448 | 2.6 | 325
MobileNetV1(alpha=0.5)      | 1342536 | 1331592 | 149497088 | 1.3 | 149
MobileNetV1(alpha=0.25)     |  475544 |  470072 |  41030272 | 0.5 | 41
MobileNetV1(rho=6 / 7)      | 4253864 | 4231976 | 418121728 | 4.2 | 418
MobileNetV1(rho=5 / 7)      | 4253864 | 4231976 | 290675200 | 4.2 | 291
MobileNetV1(rho=4 / 7)      | 4253864 | 4231976 | 186400768 | 4.2 | 186
MobileNetV2(alpha=1.4)      | 6156712 | 6108776 | 582195824 |  -  | 582
MobileNetV2(alpha=1.3)      | 5431048 | 5386792 | 509374560 |  -  | 509
MobileNetV2(alpha=1.0)      | 3538984 | 3504872 | 300774272 | 3.5 | 301
MobileNetV2(alpha=0.75)     | 2663064 | 2636424 | 209069792 | 2.6 | 209
MobileNetV2(alpha=0.5)      | 1987224 | 1968680 |  97131840 | 2.0 | 97
MobileNetV2(alpha=0.35)     | 1691208 | 1677128 |  59285808 | 1.7 | 59
ShuffleNetV1(groups=1)      | 1546624 | 1531936 | 143078976 |  -  | 143.1
ShuffleNetV1(groups=2)      | 1754248 | 1733848 | 140836512 |  -  | 140.8
ShuffleNetV1(groups=3)      | 1890208 | 1865728 | 137460672 | 1.9 | 137.5
ShuffleNetV1(groups=4)      | 1996088 | 1968344 | 134339776 |  -  | 134.3
ShuffleNetV1(groups=8)      | 2473936 | 2434768 | 138365952 |  -  | 138.4
ShuffleNetV1(alpha=0.5)     |  730564 |  718324 |  37589856 | 0.7 | 38
ShuffleNetV1(alpha=1.5)     | 3478888 | 3442168 | 292443552 | 3.4 | 292
ShuffleNetV1(alpha=2.0)     | 5499736 | 5450776 | 524045184 | 5.5 | 524
ShuffleNetV2(alpha=0.5)     | 1374744 | 1366792 |  40476448 | 1.4 | 40.5
ShuffleNetV2(alpha=1.0)     | 2294784 | 2278604 | 144907992 | 2.3 | 144.9
ShuffleNetV2(alpha=1.5)     | 3527064 | 3503624 | 295759392 | 3.5 | 295.8
ShuffleNetV2(alpha=2.0)     | 7427712 | 7393996 | 583253464 | 7.4 | 583.3
SqueezeNet(version="1.0")   | 1248424 | 1248424 | 818924576 | 1.2 | 818.9
SqueezeNet(version="1.1")   | 1235496 | 1235496 | 349151936 | 1.2 | 349.2
SqueezeNet(bypass="simple") | 1248424 | 1248424 | 818924576 |  -  | -
SqueezeNet(bypass="complex")| 1589672 | 1589672 | 1165298720|  -  | -
SqueezeNet(version="1.1", bypass="complex")|1572648|1572648|447660736|-|-
CifarResNet(depth=20)       |  271098 |  269722 |  40551040 | 0.27| 41
CifarResNet(shortcut="B")   |  274042 |  272474 |  40813184 |  -  | -
CifarResNet(depth=32)       |  466426 |  464154 |  68862592 | 0.46| 69
CifarResNet(depth=44)       |  661754 |  658586 |  97174144 | 0.66| -
CifarResNet(depth=56)       |  857082 |  853018 | 125485696 | 0.85| 125
CifarResNet(depth=110)      | 1736058 | 1727962 | 252887680 | 1.7 | 253
CifarVGG16()                |14995146 |14986698 | 313463808 | 15.0| 313
LeNet300100()               |  266610 |  266610 |    266200 | 0.27| -
LeNet5()                    |  431080 |  431080 |   2293000 | 0.43| -
VGG16()                   | 138357544 |138357544|15470264320| 138 | -
"""
# Networks of one bit: parameters, those of one bit, MACs, MACs of signs.
BINARY_ROWS = """
BinaryResNet(depth=8)           |    75834 |    73728 | 443008 |  11796480
BinaryResNet(depth=14)          |   173498 |   170496 | 443008 |  25952256
BinaryResNet(depth=20)          |   271162 |   267264 | 443008 |  40108032
BinaryResNet(depth=32)          |   466490 |   460800 | 443008 |  68419584
BinaryResNet(depth=44)          |   661818 |   654336 | 443008 |  96731136
BinaryResNet(depth=56)          |   857146 |   847872 | 443008 | 125042688
BinaryResNet18()                | 11699368 | 10985472 | 137793536 | 1676279808
BinaryLeNet5()                  |   432790 |   425000 | 293000 |   2000000
BinaryConnectMLP(num_bits=None) |  2922506 |  2899968 | 2910208 |        0
BinaryConnectMLP(num_bits=1)    |  2922506 |  2899968 | 813056 |   2097152
"""
LINES = ROWS.strip().splitlines()
BINARY_LINES = BINARY_ROWS.strip().splitlines()
FUNCTIONS = {
    function.replace("_", ""): function for function in vars(paper_arithmetic)
}
SLOW = {"MobileNetV2", "ShuffleNetV1", "ShuffleNetV2", "CifarVGG16", "VGG16"}


def row(line):
    call, *cells = (cell.strip() for cell in line.split("|"))
    parameters, trainable, macs = map(int, cells[:3])
    slow = call.partition("(")[0] in SLOW and parameters > 2_500_000
    slow |= call == "CifarResNet(depth=110)"
    return pytest.param(
        call,
        parameters,
        trainable,
        macs,
        *cells[3:],
        id=call,
        marks=[pytest.mark.slow] if slow else [],
    )


def built(call):
    """The model of a row, and what is derived of it without Keras."""
    name, _, options = call.rstrip(")").partition("(")
    options = eval(f"dict({options})")
    derive = getattr(paper_arithmetic, FUNCTIONS[name.lower()])
    return getattr(models, name).build(**options), derive(**options)


def as_printed(number, printed):
    """A number as it is printed: in millions, with as many digits."""
    _, _, digits = printed.partition(".")
    return f"{number / 1e6:.{len(digits)}f}"


@pytest.mark.parametrize(
    "call, parameters, trainable, macs, printed_parameters, printed_macs",
    [row(line) for line in LINES],
)
def test_every_count_is_exact(
    call, parameters, trainable, macs, printed_parameters, printed_macs
):
    model, derived = built(call)
    assert model.count_params() == parameters
    trained = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trained == trainable
    assert profile(model).macs == derived == macs
    for number, printed in (
        (trainable, printed_parameters),
        (macs, printed_macs),
    ):
        assert printed in ("-", as_printed(number, printed))


@pytest.mark.parametrize(
    "line", BINARY_LINES, ids=lambda line: line.split("|")[0].strip()
)
def test_every_count_of_binary_networks_is_exact(line):
    call, *cells = line.split("|")
    parameters, single, macs, binary_macs = map(int, cells)
    model, derived = built(call.strip())
    found = profile(model)
    assert model.count_params() == found.parameters == parameters
    assert found.binary_parameters == single
    assert (found.macs, found.binary_macs) == derived == (macs, binary_macs)


def test_float_shortcuts_of_binary_networks():
    model, derived = built('BinaryResNet(shortcut="B")')
    found = profile(model)
    assert (found.macs, found.binary_macs) == derived == (705_152, 40_108_032)


ALL_LINES = [*LINES, *BINARY_LINES]


@pytest.mark.parametrize("name", sorted({x.split("(")[0] for x in ALL_LINES}))
def test_docstrings_have_these_counts(name):
    rows = [line for line in ALL_LINES if line.startswith(f"{name}(")]
    # Those of the first table end with what papers print.
    counts = slice(1, 5 if name.startswith("Binary") else 4)
    cells = [int(cell) for row in rows for cell in row.split("|")[counts]]
    known = {f"{cell:,}" for cell in cells if cell}
    table = [
        line
        for line in getattr(models, name).__doc__.splitlines()
        if line.strip().startswith("|")
    ]
    found = set(re.findall(r"\d+(?:,\d{3})+", "".join(table)))
    assert found == known
