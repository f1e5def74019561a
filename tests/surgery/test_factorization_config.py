"""Configurations, budgets and samples that cannot be are refused."""

import keras
import numpy as np
import pytest
from keras import layers
from low_rank_models import classifier, images

from fritz_compress.surgery import FactorizationConfig, factorize


@pytest.mark.parametrize(
    "arguments, kind, message",
    [
        ({"method": "svdd"}, ValueError, "`method` must be one of .*'svdd'"),
        ({"rank": 0}, ValueError, "`rank` must be at least 1.*rank=0"),
        ({"rank": (3, 0)}, ValueError, "`rank` must be at least 1.*rank=0"),
        ({"rank": 1.5}, TypeError, "`rank` must be a whole number.*1.5"),
        ({"rank": True}, TypeError, "`rank` must be a whole number.*True"),
        ({"rank": "bayes"}, ValueError, r"`rank` must be one of \['vbmf'\]"),
        ({"energy": 0}, ValueError, r"`energy` must be a fraction in \(0, 1\]"),
        ({"energy": 90}, ValueError, "not a percent. Received: energy=90"),
        ({"energy": "0.9"}, TypeError, "Pass the number, without quotes"),
        ({"rank": 3, "energy": 0.9}, ValueError, "rank=3 and energy=0.9"),
    ],
)
def test_wrong_settings_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        FactorizationConfig(**arguments)
    with pytest.raises(kind, match=message):
        factorize(classifier(), arguments)


def test_lists_are_pairs():
    config = FactorizationConfig("tucker", rank=[np.int64(3), 4])
    assert config.rank == (3, 4)
    assert FactorizationConfig(energy=1).energy == 1


def by_name(**configs):
    return {"layer_name_configs": {**configs, "*": None}}


WRONG = [
    ({"hidden": {"rank": 15}}, "'hidden'.*from 1 to 14 here.*rank=15"),
    ({"strided": {"rank": 13}}, "'strided'.*from 1 to 12 here.*rank=13"),
    ({"wide": {"rank": (2, 3)}}, r"'wide'.*must be one number.*\(2, 3\)"),
    (
        {"wide": {"method": "tucker", "rank": (9, 1)}},
        r"'wide'.*not be more than 3 times.*\(9, 1\)",
    ),
    ({"wide": {"method": "svd"}}, "'wide'.*method='svd': the method is for De"),
    ({"hidden": {"method": "cp"}}, "'hidden'.*the method is for Conv2D"),
    ({"hiden": {"rank": 2}}, "'hiden'. Did you mean 'hidden'"),
]


@pytest.mark.parametrize("configs, message", WRONG)
def test_layers_that_cannot_follow_are_named(configs, message):
    with pytest.raises(ValueError, match=message):
        factorize(classifier(), by_name(**configs))


def test_one_configuration_for_many_layers_may_pass_over_some():
    _, report = factorize(classifier(), {"rank": 13})
    reasons = report.skipped
    assert "from 1 to 12 here. Received: rank=13" in reasons["strided"]
    assert "would take" in reasons["dilated"]
    _, report = factorize(classifier(), {"method": "svd", "energy": 0.5})
    assert report.skipped["wide"] == "method='svd': the method is for Dense"
    with pytest.raises(ValueError, match="'strided'.*from 1 to 12.*rank=15"):
        factorize(classifier(), {"rank": 15})


def test_causal_layers_cannot_be_separable():
    inputs = keras.Input((9, 8))
    outputs = layers.Conv1D(9, 3, padding="causal", name="causal")(inputs)
    model = keras.Model(inputs, outputs)
    with pytest.raises(ValueError, match="'causal'.*no depthwise layer has ca"):
        factorize(model, {"method": "separable", "rank": 1})


def test_a_type_that_matches_nothing_is_refused():
    config = {"layer_type_configs": {"Conv": {"rank": 2}}}
    with pytest.raises(ValueError, match="Did you mean 'Conv2D'"):
        factorize(classifier(), config)


BUDGETS = [
    ({"parameters": 0.5, "macs": 0.5}, ValueError, "parameters=0.5 and macs"),
    ({"macs": 0}, ValueError, r"`macs` must be a fraction in \(0, 1\)"),
    ({"macs": 1.0}, ValueError, r"`macs` must be a fraction in \(0, 1\)"),
    ({"parameters": 50}, ValueError, "not a percent. Received: parameters=50"),
    ({"parameters": "0.5"}, TypeError, "Pass the number, without quotes"),
]


@pytest.mark.parametrize("arguments, kind, message", BUDGETS)
def test_wrong_budgets_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        factorize(classifier(), **arguments)


@pytest.mark.parametrize("objective", ["parameters", "macs"])
def test_a_budget_that_cannot_be_met_says_what_could(objective):
    model = classifier()
    _, lowest = factorize(
        model,
        {
            "layer_name_configs": {
                name: {"rank": 1}
                for name in ("strided", "wide", "dilated", "hidden", "logits")
            }
        },
    )
    least = getattr(lowest, f"{objective}_after")
    total = getattr(lowest, f"{objective}_before")
    with pytest.raises(
        ValueError,
        match=f"{objective}=0.01 cannot be met: of {total:,} .*, {least:,} "
        rf"\({least / total:.3f}\) are left with the lowest ranks",
    ):
        factorize(model, **{objective: 0.01})
    _, met = factorize(model, **{objective: least / total + 1e-9})
    assert getattr(met, f"{objective}_after") == least


def test_kernels_must_be_finite():
    model = classifier()
    weights = model.get_layer("wide").kernel
    weights.assign(np.full(weights.shape, np.nan))
    with pytest.raises(ValueError, match="kernel of layer 'wide' must be fin"):
        factorize(model, {"energy": 0.9})


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="`model` must be a Keras model"):
        factorize("net.keras")
    with pytest.raises(ValueError, match="must be built"):
        factorize(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(TypeError, match="Expected a FactorizationConfig"):
        factorize(classifier(), 3)


SAMPLES = [
    (images()[0], ValueError, r"shapes \[\(None, 11, 12, 3\)\].*\(11, 12, 3\)"),
    (images(size=(11, 11)), ValueError, r"Received: \[\(6, 11, 11, 3\)\]"),
    (images()[:0], ValueError, r"at least one. Received: \[0\] samples"),
    (np.full((2, 11, 12, 3), np.nan), ValueError, "`samples` must.*NaN"),
    (3, TypeError, "arrays with a batch axis, or batches.*Received: 3"),
    ("photos", TypeError, "Received: 'photos'"),
    (iter([images()]), TypeError, r"only once. Pass `list\(...\)`"),
    ([], ValueError, "at least one batch. Received: none"),
    ([images(), images(size=(5, 5))], ValueError, r"\(6, 5, 5, 3\)"),
]


@pytest.mark.parametrize(
    "samples, kind, message", SAMPLES, ids=[m for *_, m in SAMPLES]
)
def test_samples_that_do_not_fit_are_refused(samples, kind, message):
    with pytest.raises(kind, match=message):
        factorize(classifier(), macs=0.5, samples=samples)


@pytest.mark.parametrize("name", ["positions", "batch_size"])
def test_counts_are_checked(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1"):
        factorize(classifier(), macs=0.5, **{name: 0})
