"""The network of 2018, if its file is at hand."""

import numpy as np
import pytest
from helpers import external_data

from fritz_compress.convert.litert import LiteRTModel
from fritz_compress.convert.style_transfer_2018 import load_style_transfer_2018
from fritz_compress.convert.tflite import to_tflite
from fritz_compress.models import SmallStyleTransferNetwork
from fritz_compress.ops.fidelity import max_difference
from fritz_compress.training import read_photo

FILE = "starry_night_640x480_025.tflite"


@pytest.mark.slow
def test_keras_paints_what_the_file_of_2018_paints():
    path = external_data(FILE)
    photo = read_photo(external_data("photos/dog.jpg")).resize((480, 640))
    pixels = np.asarray(photo, "float32")[None]
    model = load_style_transfer_2018(path)
    assert model.count_params() == 108_374
    # Its epsilon is outside of the root, ours inside.
    assert max_difference(LiteRTModel(path)(pixels), model(pixels)) < 0.15


def test_another_network_is_refused(tmp_path):
    model = SmallStyleTransferNetwork.build((8, 8), alpha=0.1)
    to_tflite(model, tmp_path / "small.tflite", min_psnr=0)
    with pytest.raises(ValueError, match="not a style transfer network of 20"):
        load_style_transfer_2018(tmp_path / "small.tflite")


def test_another_file_is_refused(tmp_path):
    (tmp_path / "text.tflite").write_text("text")
    with pytest.raises(ValueError, match="text.tflite' is not a .tflite file"):
        load_style_transfer_2018(tmp_path / "text.tflite")
