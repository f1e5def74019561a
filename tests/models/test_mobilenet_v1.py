import keras
import pytest

from fritz_compress.models import MobileNetV1


@pytest.mark.parametrize(
    "side, rho", [(192, 6 / 7), (160, 5 / 7), (128, 4 / 7)]
)
def test_the_resolution_multiplier_makes_the_sizes_of_table_7(side, rho):
    model = MobileNetV1.build(alpha=0.1, rho=rho)
    assert model.input_shape == (None, side, side, 3)


def test_both_sides_are_multiplied_and_rounded():
    model = MobileNetV1.build((65, 91), alpha=0.1, rho=0.5)
    assert model.input_shape == (None, 32, 46, 3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rho": 0}, r"`rho` is a resolution multiplier in \(0, 1\].*rho=0"),
        ({"rho": 1.5}, "Received: rho=1.5"),
        ({"rho": "0.5"}, "Received: rho='0.5'"),
        ({"rho": float("nan")}, "Received: rho=nan"),
        (
            {"rho": 0.5, "image_size": None},
            "`rho` multiplies `image_size`, which must be given.*rho=0.5, "
            "image_size=None",
        ),
        (
            {"rho": 0.5, "input_tensor": keras.Input((64, 64, 3))},
            "no `input_tensor` with it",
        ),
        ({"rho": 0.5, "image_size": 64}, "two whole numbers.*Received: 64"),
        ({"rho": 0.1}, r"at least 31x31. Received: \(22, 22\)"),
        ({"alpha": 0.01}, r"'conv1' int\(0.01 \* 32\) = 0.*alpha=1/32"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        MobileNetV1.build(**arguments)
