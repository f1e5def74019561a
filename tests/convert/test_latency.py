import pathlib

import keras
import numpy as np
import pytest
from helpers import distinct_weights

from fritz_compress.convert import latency, to_tflite
from fritz_compress.convert.litert import LiteRTModel
from fritz_compress.models import SmallStyleTransferNetwork


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    for alpha in (0.05, 0.5):
        model = SmallStyleTransferNetwork.build((64, 64), alpha=alpha)
        to_tflite(distinct_weights(model), folder / f"{alpha}.tflite")
    SmallStyleTransferNetwork.build(None, alpha=0.1).save(
        folder / "any_size.keras"
    )
    (folder / "core_ml.mlmodel").write_bytes(b"not read")
    return folder


def test_the_smaller_network_is_faster(folder):
    small, large = folder / "0.05.tflite", folder / "0.5.tflite"
    times = latency([str(large), small], runs=5)
    assert list(times) == [large, small]
    assert 0 < times[small].milliseconds < times[large].milliseconds
    assert times[small].note == ""


def test_keras_files_run_at_the_size_given(folder):
    path = folder / "any_size.keras"
    timing = latency([path], picture_size=(16, 24), runs=2, warmup=1)[path]
    assert timing.milliseconds > 0
    assert timing.note == "threads not set"


def test_core_ml_files_are_not_timed(folder):
    path = folder / "core_ml.mlmodel"
    timing = latency([path])[path]
    assert timing.milliseconds is None
    assert timing.note == "not timed: needs Apple's runtime"


def test_networks_that_take_no_pictures(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    to_tflite(model, tmp_path / "net.tflite", samples=np.ones((1, 4)))
    (timing,) = latency([tmp_path / "net.tflite"], runs=1).values()
    assert timing.milliseconds > 0


def test_without_xnnpack_the_results_agree(folder):
    """Other kernels, the same network; only their operations differ."""
    path = folder / "0.05.tflite"
    inputs = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3))
    fast, plain = (LiteRTModel(path, xnnpack=x) for x in (True, False))
    np.testing.assert_allclose(fast(inputs), plain(inputs), atol=0.1)
    kernels = [
        {op["op_name"] for op in model._interpreter._get_ops_details()}
        for model in (fast, plain)
    ]
    assert "DELEGATE" in kernels[0] and "DELEGATE" not in kernels[1]
    assert latency([path], runs=1, xnnpack=False)[path].milliseconds > 0


@pytest.mark.parametrize("wrong", [{"runs": 0}, {"threads": 0}, {"warmup": -1}])
def test_bad_counts_are_refused(folder, wrong):
    with pytest.raises(ValueError, match="at least one thread, one run"):
        latency([folder / "0.05.tflite"], **wrong)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="No network at '.*missing.tflite'"):
        latency([tmp_path / "missing.tflite"])
    with pytest.raises(ValueError, match="ends with"):
        latency([pathlib.Path("net.onnx")])
