"""Suggested bits: every measurement beside numpy, and as a whole."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from sensitivity_models import CountedErrors, data, errors, pointwise_model

from fritz_compress.analysis import suggest_bits
from fritz_compress.ops.quantization import linear_quantize
from fritz_compress.quantization import (
    ConfigByLayer,
    WeightConfig,
    quantize_weights,
)

KERNELS = {"first": 0, "second": 6, "head": 8}
PER_TENSOR = {"granularity": "per_tensor"}
# Biases and the normalization of `pointwise_model`.
OTHER_BYTES = 4 * (6 + 4 * 6 + 5 + 2)


def coded(kernel, nbits):
    """A kernel with one symmetric grid, and the bytes it takes then."""
    codes = linear_quantize(
        kernel,
        nbits,
        symmetric=True,
        zero=True,
        ranges="minmax" if nbits >= 6 else "least_squares",
    )
    return codes.decode(), -(-(kernel.size * nbits + 32) // 8)


def quantized(bits):
    """Error, bytes of all weights, and noise, with these bits of layers."""
    weights = pointwise_model().get_weights()
    size = sum(weight.nbytes for weight in weights)
    signal = noise = 0.0
    for layer, nbits in bits.items():
        kernel = weights[KERNELS[layer]]
        values, bytes_after = coded(kernel, nbits)
        size += bytes_after - kernel.nbytes
        signal += np.square(kernel).sum()
        noise += np.square(kernel - values).sum()
        weights[KERNELS[layer]] = values
    return errors(weights, *data())["mae"], size, 10 * np.log10(signal / noise)


def suggest(max_loss=0.05, **arguments):
    arguments = {
        "config": PER_TENSOR,
        "evaluate": CountedErrors(),
        "metric": "mae",
        **arguments,
    }
    model = arguments.pop("model", None) or pointwise_model()
    return suggest_bits(model, max_loss=max_loss, **arguments)


def test_every_measurement_beside_numpy():
    found = suggest(nbits=(2, 4, 7))
    points = [(row.layer, row.nbits) for row in found.rows]
    assert points == [(name, n) for name in KERNELS for n in (2, 4, 7)]
    weights = pointwise_model().get_weights()
    for row in found.rows:
        value, size, sqnr = quantized({row.layer: row.nbits})
        assert row.value == pytest.approx(value, 1e-5), row
        assert row.sqnr == pytest.approx(sqnr, abs=0.01), row
        position = KERNELS[row.layer]
        before = weights[position].nbytes + weights[position + 1].nbytes
        assert row.bytes_before == before
        saved = sum(weight.nbytes for weight in weights) - size
        assert row.bytes == row.bytes_before - saved
    for row in found.uniform:
        value, size, _ = quantized(dict.fromkeys(KERNELS, row.nbits))
        assert row.value == pytest.approx(value, 1e-5), row
        assert row.bytes == size
    assert found.baseline == pytest.approx(errors(weights, *data())["mae"])
    assert found.bytes_before == sum(weight.nbytes for weight in weights)


@pytest.mark.parametrize("max_loss", [0.0, 0.003, 0.03, 0.3, 3.0])
def test_the_suggestion_is_measured_and_within_the_loss(max_loss):
    model = pointwise_model()
    before = model.get_weights()
    evaluate = CountedErrors()
    found = suggest(max_loss, model=model, evaluate=evaluate)
    assert found == suggest(max_loss, model=model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    smaller, report = quantize_weights(model, found.config)
    value = errors(smaller.get_weights(), *data())["mae"]
    assert found.value == pytest.approx(value, 1e-6)
    assert found.loss <= max_loss + 1e-6 * found.baseline
    assert found.bytes == report.bytes
    assert found.evaluations == evaluate.calls
    assert found.best_uniform is None or found.bytes <= found.best_uniform.bytes
    for row in report.weights:
        layer, _, attribute = row.name.partition("/")
        if attribute == "kernel" and found.bits[layer] is not None:
            assert row.nbits == found.bits[layer]
        else:
            assert row.codes is None


def test_more_loss_allows_fewer_bytes():
    weights = pointwise_model().get_weights()

    def noise(model):  # 0 for the model as it is, and worse with fewer bits
        pairs = zip(weights, model.get_weights(), strict=True)
        return sum(np.square(old - new).sum() for old, new in pairs)

    sizes = [
        suggest(max_loss, evaluate=noise, metric=None, mode="min").bytes
        for max_loss in (0.0, 1e-3, 1e-2, 0.1, 1e3)
    ]
    assert sizes == sorted(set(sizes), reverse=True)
    kernels = sum(-(-(weights[n].size * 2 + 32) // 8) for n in (0, 6, 8))
    assert sizes[0] == sum(weight.nbytes for weight in weights)
    assert sizes[-1] == OTHER_BYTES + kernels


def test_a_metric_may_be_better_when_it_is_larger():
    def psnr(model):
        return -20 * np.log10(CountedErrors()(model)["mae"])

    found = suggest(0.2, evaluate=psnr, metric=None)
    assert (found.metric, found.mode) == ("psnr", "max")
    assert found.loss == found.baseline - found.value <= 0.2 + 1e-5


def test_compiled_metrics_are_what_a_function_measures():
    model, (x, y) = pointwise_model(), data()
    arguments = {"nbits": (3, 6), "config": PER_TENSOR, "metric": "mae"}
    found = suggest_bits(model, x, y, max_loss=0.02, **arguments)
    expected = suggest(0.02, nbits=(3, 6))
    assert found.bits == expected.bits
    for row, other in zip(found.rows, expected.rows, strict=True):
        assert row.value == pytest.approx(other.value, 1e-5)


def test_where_no_number_of_bits_will_do_layers_stay_as_they_are():
    def differs(model):
        same = zip(model.get_weights(), pointwise_model().get_weights())
        return float(sum(np.any(old != new) for old, new in same))

    found = suggest(0.5, evaluate=differs, metric=None, mode="min")
    assert found.bits == dict.fromkeys(KERNELS)
    assert (found.value, found.loss) == (0, 0)
    assert found.bytes == found.bytes_before
    assert "no number of bits for all layers is within" in str(found)
    assert found.best_uniform is None
    _, report = quantize_weights(pointwise_model(), found.config)
    assert all(row.codes is None for row in report.weights)


def test_the_configuration_holds_for_the_rest():
    config = ConfigByLayer(
        WeightConfig(5, "kmeans"),
        layer_type_configs={"Dense": None},
        layer_name_configs={"sec*": WeightConfig(3, "linear")},
    )
    found = suggest(10.0, config=config, nbits=2)
    assert found.config == ConfigByLayer(
        layer_name_configs={
            "first": WeightConfig(2, "kmeans"),
            "second": WeightConfig(2, "linear"),
        }
    )
    assert found.skipped["head/kernel"] == "left by the configuration"
    assert len(found.skipped) == 1 + 7


def test_names_are_no_patterns():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(9, name="dense[1]"),
            layers.Dense(9, name="dense1"),
        ]
    )
    expected = {"dense[1]": 2, "dense1": 8}
    first = distinct_weights(model).get_weights()[0]

    def evaluate(copy):  # Only the second layer must be like it was.
        second = copy.get_weights()[2] - model.get_weights()[2]
        return np.abs(second).max() > 0.02

    found = suggest_bits(
        model, max_loss=0, nbits=(2, 8), evaluate=evaluate, mode="min"
    )
    assert found.bits == expected
    smaller, _ = quantize_weights(model, found.config)
    numbers = [len(np.unique(w)) for w in smaller.get_weights()[::2]]
    assert numbers[0] <= 3 * 9 < numbers[1] <= 81 and first.size == 36


def test_layers_inside_layers():
    inputs = keras.Input((5, 4))
    outputs = layers.LSTM(8, name="lstm", return_sequences=True)(inputs)
    outputs = layers.MultiHeadAttention(2, 4, name="heads")(outputs, outputs)
    outputs = layers.Dense(3, name="head")(outputs)
    model = distinct_weights(keras.Model(inputs, outputs))
    x = np.random.default_rng(0).normal(size=(4, 5, 4)).astype("float32")
    y = model.predict(x, verbose=0)

    def mse(copy):
        return np.square(copy.predict_on_batch(x) - y).mean()

    found = suggest_bits(model, max_loss=1e-3, nbits=(3, 8), evaluate=mse)
    assert list(found.bits) == [
        "lstm/lstm_cell",
        "heads/query",
        "heads/key",
        "heads/value",
        "heads/attention_output",
        "head",
    ]
    assert len(set(found.bits.values())) > 1
    smaller, report = quantize_weights(model, found.config)
    assert mse(smaller) == pytest.approx(found.value, rel=1e-3)
    assert report.bytes == found.bytes
    rows = {row.name: row for row in report.weights}
    for kind in ("kernel", "recurrent_kernel"):
        name = f"lstm/lstm_cell/{kind}"
        assert rows[name].nbits == found.bits["lstm/lstm_cell"]


def test_what_codes_do_not_make_smaller_has_no_row():
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(16, name="wide"),
            layers.Dense(1, name="head"),
        ]
    )
    # A scale for every 2 numbers: 32 bits and 2 * 16 are 64 as before.
    found = suggest_bits(
        distinct_weights(model),
        max_loss=9.0,
        nbits=(8, 16),
        evaluate=lambda copy: 0.0,
        mode="min",
    )
    points = {(row.layer, row.nbits) for row in found.rows}
    assert points == {("wide", 8), ("head", 8), ("head", 16)}
    assert [row.nbits for row in found.uniform] == [8, 16]


def test_importance_decides_on_codebooks():
    model = pointwise_model()
    importance = {"first/kernel": np.zeros((1, 1, 3, 6), "float32")}
    importance["first/kernel"][..., 0] = 1
    arguments = {"config": {"mode": "kmeans"}, "nbits": 2}
    found = suggest(9.0, model=model, importance=importance, **arguments)
    smaller, _ = quantize_weights(model, found.config, importance=importance)
    value = errors(smaller.get_weights(), *data())["mae"]
    assert found.value == pytest.approx(value, 1e-6)
    assert found.value != suggest(9.0, model=model, **arguments).value


def test_an_interrupted_search_goes_on_where_it_was(tmp_path):
    file = tmp_path / "bits.jsonl"
    expected = suggest(0.02)
    with pytest.raises(InterruptedError):
        suggest(0.02, evaluate=CountedErrors(fail_after=5), resume_file=file)
    evaluate, reports = CountedErrors(), []
    found = suggest(
        0.02,
        evaluate=evaluate,
        resume_file=file,
        on_point=lambda *report: reports.append(report),
    )
    assert found == expected
    assert evaluate.calls == expected.evaluations - 5
    done = [report[0] for report in reports]
    assert done == list(range(6, expected.evaluations + 1))
    assert all(d <= total and left >= 0 for d, total, left in reports)
    # Another loss needs only what is new; all of it is known.
    assert suggest(0.02, evaluate=evaluate, resume_file=file) == expected
    assert evaluate.calls == expected.evaluations - 5
    for other in ({"config": {"mode": "kmeans"}}, {"seed": 1}):
        with pytest.raises(ValueError, match="holds a sweep with other config"):
            suggest(0.02, resume_file=file, **other)


@pytest.mark.slow
def test_workers_give_what_one_process_gives():
    model, (x, y) = pointwise_model(), data()
    arguments = {"max_loss": 0.05, "metric": "mae", "nbits": (2, 5)}
    expected = suggest_bits(model, x, y, **arguments)
    assert suggest_bits(model, x, y, n_jobs=2, **arguments) == expected


def test_the_table():
    found = suggest(0.02, nbits=(2, 6))
    lines = str(found).splitlines()
    assert lines[0].startswith("'pointwise' with the bits below: mae 1.9")
    assert f"(max_loss=0.02, {found.evaluations} evaluations)" in lines[0]
    assert lines[1].startswith(f"{found.bytes_before:,} -> {found.bytes:,} ")
    assert lines[2].split() == "layer bits bytes SQNR dB 2 6".split()
    for line, (layer, bits) in zip(lines[3:], found.bits.items()):
        rows = {r.nbits: r for r in found.rows if r.layer == layer}
        values = [f"{rows[n].value:.4g}" for n in (2, 6)]
        sizes = [f"{rows[bits].bytes_before:,}", "->", f"{rows[bits].bytes:,}"]
        noise = f"{rows[bits].sqnr:.1f}"
        assert line.split() == [layer, str(bits), *sizes, noise, *values]
    values = [f"{row.value:.4g}" for row in found.uniform]
    assert lines[6].split() == ["all", "layers", *values]
    assert lines[8] == "7 other weights stay as they are"


X, Y = data()
WRONG = {
    "nothing": (dict(x=None, y=None), "`suggest_bits.model, x, y.`.*neither"),
    "no targets": (dict(y=None), "Pass `suggest_bits.model, x, y.`"),
    "loss": (dict(max_loss=-1), "`max_loss` must be 0 or more.*-1"),
    "no bits": (dict(nbits=()), "`nbits` must be at least one"),
    "bits": (dict(nbits=(4, 17)), "whole number from 1 to 16.*17"),
    "half bits": (dict(nbits=4.5), "whole number from 1 to 16.*4.5"),
    "metric": (dict(metric="accuracy"), "`metric` must be one of loss, mae"),
    "layer": (
        dict(config={"layer_name_configs": {"frist": None}}),
        "'frist'. Did you mean 'first'",
    ),
    "nothing to do": (
        dict(config={"global_config": None}),
        "'pointwise' has nothing that can be quantized. .*head/kernel: left",
    ),
    "batch": (dict(batch_size=0), "`batch_size` must be at least 1"),
    "jobs": (dict(n_jobs=0), "`n_jobs` must be a number of processes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_refused(case):
    arguments, message = WRONG[case]
    arguments = {"x": X, "y": Y, "max_loss": 0.1, "metric": "mae", **arguments}
    with pytest.raises(ValueError, match=message):
        suggest_bits(pointwise_model(), **arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"max_loss": "1%"}, "`max_loss` must be 0 or more.*'1%'"),
        ({"nbits": "4"}, "`nbits` must be a list of numbers of bits.*'4'"),
        ({"config": 4}, "Expected a WeightConfig.*4"),
    ],
)
def test_wrong_types_are_refused(arguments, message):
    with pytest.raises(TypeError, match=message):
        suggest_bits(pointwise_model(), X, Y, **{"max_loss": 1, **arguments})
