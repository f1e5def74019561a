"""Chains of small layers compute what the layer did; only where smaller."""

import itertools

import keras
import numpy as np
import pytest
from helpers import distinct_weights, slow_but
from keras import layers
from low_rank_models import (
    assert_unchanged,
    classifier,
    give_rank,
    images,
    predict,
    snapshot,
)

from fritz_compress.analysis import profile
from fritz_compress.surgery import (
    ConfigByLayer,
    FactorizationConfig,
    factorize,
)

# What a convolution can be, beside its kernel.
SETTINGS = {
    "valid": {},
    "same": {"padding": "same"},
    "strides 2 same": {"padding": "same", "strides": 2},
    "strides 2 valid": {"strides": 2},
    "strides (2, 1) same": {"padding": "same", "strides": (2, 1)},
    "dilated same": {"padding": "same", "dilation_rate": 2},
    "dilated valid": {"dilation_rate": (1, 2)},
    "no bias": {"use_bias": False, "padding": "same"},
    "relu": {"activation": "relu", "padding": "same"},
}
RANKS = {"channel": 2, "spatial": 2, "tucker": (3, 2), "cp": 4, "separable": 1}
KINDS = {
    "channel": ["Conv2D", "Conv2D"],
    "spatial": ["Conv2D", "Conv2D"],
    "tucker": ["Conv2D", "Conv2D", "Conv2D"],
    "cp": ["Conv2D", "DepthwiseConv2D", "DepthwiseConv2D", "Conv2D"],
    "separable": ["DepthwiseConv2D", "Conv2D"],
    "svd": ["Dense", "Dense"],
    "toeplitz": ["ToeplitzLikeDense"],
}


def factorized(layer, shape, method, rank):
    """A layer of this rank alone in a model, and the model factorized."""
    inputs = keras.Input(shape)
    model = distinct_weights(keras.Model(inputs, layer(inputs)))
    give_rank(layer, method, rank)
    smaller, report = factorize(model, {"method": method, "rank": rank})
    (row,) = report.layers
    assert (row.method, row.note) == (method, "")
    assert row.kernel_error < 2e-4
    return model, smaller, row


def check_equal(model, smaller, shape, atol=2e-4):
    x = np.random.default_rng(1).normal(size=(2, *shape)).astype("float32")
    expected = predict(model, x)
    assert expected.std() > 0.05
    np.testing.assert_allclose(predict(smaller, x), expected, atol=atol)


@pytest.mark.parametrize(
    "size, setting",
    [
        *(((3, 3), setting) for setting in SETTINGS),
        *(((1, 3), setting) for setting in list(SETTINGS)[1:4]),
        *(((4, 5), setting) for setting in list(SETTINGS)[1:4]),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", RANKS)
def test_convolutions_of_a_rank_stay_what_they_are(method, setting, size):
    rank = RANKS[method]
    if size == (1, 3) and method == "cp":
        rank = 1  # The more so small, the slower alternation is.
    layer = layers.Conv2D(9, size, **SETTINGS[setting], name="layer")
    shape = (11, 14, 8)
    model, smaller, row = factorized(layer, shape, method, rank)
    check_equal(model, smaller, shape)
    assert [type(x).__name__ for x in smaller.layers[1:]] == KINDS[method]
    assert smaller.layers[-1].name == "layer"
    # Counted as `profile` does, before and after.
    for counted, parameters, macs in (
        (profile(model), row.parameters_before, row.macs_before),
        (profile(smaller), row.parameters_after, row.macs_after),
    ):
        assert (counted.parameters, counted.macs) == (parameters, macs)


@pytest.mark.parametrize("method", ["channel", "tucker", "separable"])
@pytest.mark.parametrize(
    "setting",
    [
        {"padding": "same", "strides": 2},
        {"dilation_rate": 2, "activation": "tanh"},
        {"padding": "causal", "use_bias": False},
    ],
    ids=["strided", "dilated", "causal"],
)
def test_convolutions_of_one_axis(method, setting):
    if method == "separable" and "causal" in setting.values():
        pytest.skip("no depthwise layer is causal; see the test of refusals")
    layer = layers.Conv1D(9, 4, **setting)
    model, smaller, _ = factorized(layer, (15, 8), method, RANKS[method])
    check_equal(model, smaller, (15, 8))


@pytest.mark.parametrize("method", ["channel", "tucker"])
def test_convolutions_of_three_axes(method):
    layer = layers.Conv3D(6, (3, 2, 2), 2, "same")
    shape = (5, 6, 7, 8)
    model, smaller, _ = factorized(layer, shape, method, RANKS[method])
    check_equal(model, smaller, shape)


@pytest.mark.parametrize(
    "method, units", [("svd", 20), ("svd", 13), ("toeplitz", 20)]
)
@pytest.mark.parametrize("shape", [(20,), (3, 20)], ids=str)
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense_layers_of_a_rank(method, units, shape, use_bias):
    layer = layers.Dense(units, "sigmoid", use_bias, name="layer")
    model, smaller, row = factorized(layer, shape, method, 2)
    check_equal(model, smaller, shape)
    assert row.macs_after == profile(smaller).macs
    assert row.parameters_after == smaller.count_params()
    assert [type(x).__name__ for x in smaller.layers[1:]] == KINDS[method]


@pytest.mark.parametrize("method", RANKS)
def test_names_say_what_a_layer_does(method):
    smaller, _ = factorize(
        classifier(),
        {"layer_name_configs": {"dilated": {"method": method, "rank": 2}}},
    )
    names = [layer.name for layer in smaller.layers if "dilated" in layer.name]
    assert (
        names
        == {
            "channel": ["dilated_reduce", "dilated"],
            "spatial": ["dilated_vertical", "dilated"],
            "tucker": ["dilated_reduce", "dilated_core", "dilated"],
            "cp": [
                "dilated_reduce",
                "dilated_vertical",
                "dilated_horizontal",
                "dilated",
            ],
            "separable": ["dilated_depthwise", "dilated"],
        }[method]
    )


def test_names_that_are_taken_get_a_number():
    inputs = keras.Input((8,))
    x = layers.Dense(9, name="hidden_reduce")(inputs)
    outputs = layers.Dense(10, name="hidden")(x)
    model = distinct_weights(keras.Model(inputs, outputs))
    smaller, _ = factorize(model, {"rank": 1})
    assert [layer.name for layer in smaller.layers[1:]] == [
        "hidden_reduce_reduce",
        "hidden_reduce",
        "hidden_reduce_1",
        "hidden",
    ]


def test_the_last_layer_has_what_the_layer_had():
    layer = layers.Conv2D(
        9,
        3,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.L2(0.1),
        bias_regularizer="l1",
        activity_regularizer="l2",
        kernel_constraint="max_norm",
        bias_constraint="non_neg",
        dtype="mixed_float16",
        name="layer",
    )
    layer.trainable = False
    inputs = keras.Input((8, 8, 8))
    model = distinct_weights(keras.Model(inputs, layer(inputs)))
    smaller, report = factorize(model, {"rank": 2})
    assert report.layers[0].note == "its kernel_constraint is left behind"
    first, last = smaller.layers[1:]
    assert first.activation is keras.activations.linear
    assert not first.use_bias and first.bias_regularizer is None
    assert last.activation is keras.activations.relu and last.use_bias
    assert type(last.bias_regularizer) is keras.regularizers.L1
    assert type(last.activity_regularizer) is keras.regularizers.L2
    assert type(last.bias_constraint) is keras.constraints.NonNeg
    for part in (first, last):
        assert part.kernel_regularizer.l2 == np.float32(0.1)
        assert type(part.kernel_initializer) is keras.initializers.HeNormal
        assert part.kernel_constraint is None
        assert part.dtype_policy.name == "mixed_float16"
        assert not part.trainable and not part.trainable_weights


def test_functions_without_a_name_are_kept():
    def doubled(x):
        return 2 * x

    for method in ("svd", "toeplitz"):
        layer = layers.Dense(15, activation=doubled)
        model, smaller, _ = factorized(layer, (15,), method, 2)
        check_equal(model, smaller, (15,))
        assert smaller.layers[-1].activation is doubled
        layer = layers.Dense(15, activation=layers.LeakyReLU(0.3))
        model, smaller, _ = factorized(layer, (15,), method, 2)
        check_equal(model, smaller, (15,))
        own = smaller.layers[-1].activation
        assert own is not layer.activation and own.negative_slope == 0.3


def energy_kept(row):
    return 1 - row.kernel_error**2


@pytest.mark.parametrize("method", [*RANKS])
@pytest.mark.parametrize("energy", [0.5, 0.8])
def test_the_smallest_rank_that_keeps_the_energy(method, energy):
    model = classifier()

    def row_of(**arguments):
        config = {"dilated": {"method": method, **arguments}}
        _, report = factorize(model, {"layer_name_configs": config})
        (row,) = report.factorized
        return row

    chosen = row_of(energy=energy)
    assert energy_kept(chosen) >= energy - 0.02
    if method in ("channel", "spatial", "separable"):
        (rank,) = chosen.rank
        assert energy_kept(chosen) >= energy - 1e-6
        assert energy_kept(row_of(rank=rank - 1)) < energy


def test_variational_bayes_finds_the_rank_under_noise():
    layer = layers.Conv2D(40, 3, name="layer")
    inputs = keras.Input((8, 8, 30))
    model = keras.Model(inputs, layer(inputs))
    give_rank(layer, "channel", 5)
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    noise = np.random.default_rng(1).normal(size=kernel.shape)
    layer.kernel.assign(kernel + 0.1 * kernel.std() * noise)
    for config in (None, {"rank": "vbmf"}):
        _, report = factorize(model, config)
        assert report.layers[0].rank == (5,)


def test_noise_is_left():
    model = classifier()
    weights = model.get_layer("dilated").kernel
    noise = np.random.default_rng(0).normal(size=weights.shape)
    weights.assign(noise)
    smaller, report = factorize(model)
    assert "nothing but noise" in report.skipped["dilated"]
    assert smaller.get_layer("dilated").kernel.shape == weights.shape


@pytest.mark.parametrize("objective", ["parameters", "macs"])
@pytest.mark.parametrize("fraction", slow_but([0.8, 0.5, 0.35], 0.5))
@pytest.mark.parametrize("method", [*RANKS])
def test_budgets_are_met_and_used(objective, fraction, method):
    model = classifier()
    config = {"layer_type_configs": {"Conv2D": {"method": method}}}
    config["global_config"] = {}
    smaller, report = factorize(model, config, **{objective: fraction})
    before, after = (getattr(profile(m), objective) for m in (model, smaller))
    assert after <= fraction * before
    # Depth multipliers are few, so that steps are large.
    assert (
        after >= (fraction - (0.12 if method == "separable" else 0.06)) * before
    )
    assert getattr(report, f"{objective}_before") == before
    assert getattr(report, f"{objective}_after") == after


def test_no_ranks_within_a_budget_keep_more():
    """Beside all ranks of two layers, each tried on its own."""
    model = classifier()
    config = {"strided": {}, "dilated": {}, "*": None}
    _, report = factorize(model, {"layer_name_configs": config}, macs=0.6)
    options = []
    for name, largest in (("strided", 8), ("dilated", 11)):
        own = [(1.0, 0)]
        for rank in range(1, largest + 1):
            config = {name: {"rank": rank}, "*": None}
            _, other = factorize(model, {"layer_name_configs": config})
            (row,) = other.factorized
            own.append((energy_kept(row), row.macs_before - row.macs_after))
        options.append(own)
    needed = 0.4 * report.macs_before
    best = max(
        first * second
        for (first, saved), (second, more) in itertools.product(*options)
        if saved + more >= needed
    )
    kept = np.prod([energy_kept(row) for row in report.factorized])
    assert kept == pytest.approx(best, rel=1e-4)


def test_a_budget_leaves_given_ranks_alone():
    config = {
        "global_config": {},
        "layer_name_configs": {
            "dilated": {"rank": 3},
            "hidden": {"energy": 0.5},
            "strided": {"rank": "vbmf"},
            "wide": None,
        },
    }
    alone = {**config, "global_config": None}
    _, expected = factorize(classifier(), alone)
    _, report = factorize(classifier(), config, parameters=0.5)
    rows = {row.name: row for row in report.layers}
    for row in expected.layers:
        if row.name != "logits":
            assert rows[row.name] == row
    assert rows["logits"].method == "svd"
    assert report.parameters_after <= 0.5 * report.parameters_before


def test_layers_that_would_grow_are_left_with_a_reason():
    model = classifier()
    smaller, report = factorize(model, {"rank": 9})
    rows = {row.name: row for row in report.layers}
    # 27 * 9 + 9 * 12 + 12 in place of 27 * 12 + 12.
    assert rows["strided"].note == (
        "rank 9 would take 363 parameters in place of 336"
    )
    assert rows["dilated"].method == "channel"
    _, by_macs = factorize(
        model,
        {
            "layer_name_configs": {
                "strided": {"method": "tucker", "rank": (3, 4)},
                "dilated": {},
            },
            "global_config": None,
        },
        macs=0.9,
    )
    # 132 * 9 + 36 * (9 * 12 + 48): the first 1x1 is applied before strides.
    assert by_macs.factorized[0].macs_after == 132 * 9 + 36 * 156
    assert [layer.name for layer in smaller.layers if "strided" in layer.name]


def test_energies_that_no_smaller_rank_keeps():
    _, report = factorize(classifier(), {"energy": 1.0})
    assert not report.factorized
    assert report.skipped["dilated"].startswith(
        "no rank that is smaller keeps 1.0 of its energy; 12 keeps 0.9"
    )
    tiny = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="tiny")])
    _, report = factorize(distinct_weights(tiny), {"energy": 0.1})
    assert report.skipped == {"tiny": "no rank takes fewer parameters"}


def test_a_report_is_a_table():
    model = classifier()
    _, report = factorize(
        model,
        {
            "global_config": {"energy": 0.6},
            "layer_name_configs": {"wide": None, "logits": {"rank": 3}},
        },
    )
    head, *rows, total = str(report).splitlines()
    assert (
        head.split()
        == (
            "layer kind method rank parameters MACs kernel error output error"
        ).split()
    )
    names = ["strided", "wide", "dilated", "hidden", "logits"]
    assert [row.split()[0] for row in rows] == names
    assert rows[1].split(maxsplit=4) == [
        *("wide", "Conv2D", "360", "8,640", "left by the configuration")
    ]
    logits = report.layers[-1]
    assert rows[-1].split() == [
        *("logits", "Dense", "svd", "3", "273", "->", "112", "260", "->", "99"),
        f"{logits.kernel_error:.4f}",
    ]
    assert total.split()[0] == "total"
    assert (
        f"{report.parameters_before:,} -> {report.parameters_after:,}" in total
    )
    share = report.macs_after / report.macs_before
    assert total.endswith(f"of parameters, {share:.3f} of MACs")
    assert report.skipped == {"wide": "left by the configuration"}


def test_the_model_is_not_changed():
    model = classifier()
    before = snapshot(model)
    factorize(model, macs=0.5)
    factorize(model, macs=0.5, samples=images())
    assert_unchanged(model, before)


def test_a_seed_decides_where_decompositions_begin():
    config = {"layer_type_configs": {"Conv2D": {"method": "cp", "rank": 5}}}
    first, again, other = (
        factorize(classifier(), config, seed=seed)[0].get_weights()
        for seed in (1, 1, 2)
    )
    assert all((a == b).all() for a, b in zip(first, again))
    assert any((a != b).any() for a, b in zip(first, other))


def test_configurations_are_those_of_quantization():
    by_object = ConfigByLayer(
        FactorizationConfig(energy=0.7),
        layer_type_configs={"Conv2D": FactorizationConfig("spatial", rank=3)},
    )
    by_mapping = {
        "global_config": {"energy": 0.7},
        "layer_type_configs": {"Conv2D": {"method": "spatial", "rank": 3}},
    }
    reports = [
        factorize(classifier(), config)[1] for config in (by_object, by_mapping)
    ]
    assert reports[0] == reports[1]
