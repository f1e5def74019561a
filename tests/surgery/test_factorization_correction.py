"""Factors fitted to what layers put out on samples."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from low_rank_models import classifier, images, predict

from fritz_compress.surgery import factorize

METHODS = ["channel", "spatial", "tucker", "cp", "separable"]


def related(count, seed):
    """Pictures whose pixels hang together, as those of the world do."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 4, 4, 2))
    fine = coarse.repeat(3, axis=1).repeat(3, axis=2)[:, :11, :12]
    mixed = fine @ np.array([[1.0, 0.8, -0.5], [0.2, 1.0, 0.7]])
    noise = 0.1 * rng.normal(size=mixed.shape)
    return (mixed + noise + 0.5).astype("float32")


def config_of(method):
    dense = "toeplitz" if method == "toeplitz" else "svd"
    convolution = "channel" if method == "toeplitz" else method
    return {
        "layer_type_configs": {
            "Conv2D": {"method": convolution},
            "Dense": {"method": dense},
        }
    }


@pytest.mark.parametrize("method", [*METHODS, "toeplitz"])
def test_outputs_on_unseen_samples_are_nearer(method):
    model = distinct_weights(classifier(), seed=4)
    features = keras.Model(model.input, model.get_layer("hidden").output)
    seen, unseen = related(300, 0), related(100, 1)
    expected = predict(features, unseen)
    errors = []
    for samples in (None, seen):
        smaller, report = factorize(
            model, config_of(method), macs=0.5, samples=samples
        )
        found = keras.Model(smaller.input, smaller.get_layer("hidden").output)
        difference = predict(found, unseen) - expected
        errors.append(np.square(difference).sum())
    assert errors[1] < 0.6 * errors[0]
    for row in report.factorized:
        assert 0 < row.output_error < 1


def alone(layer, shape):
    inputs = keras.Input(shape)
    return distinct_weights(keras.Model(inputs, layer(inputs)))


def fitted(x, y, rank):
    """The best affine map of a rank, from numpy's singular values."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    kernel, *_ = np.linalg.lstsq(x - x_mean, y - y_mean)
    _, _, right = np.linalg.svd((x - x_mean) @ kernel, full_matrices=False)
    kernel = kernel @ right[:rank].T @ right[:rank]
    return kernel, y_mean - x_mean @ kernel


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_dense_layer_is_the_best_of_its_rank(use_bias):
    model = alone(layers.Dense(9, use_bias=use_bias, name="one"), (12,))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 12)) @ rng.normal(size=(12, 12)) + 2
    x = x.astype("float32")
    y = predict(model, x)
    smaller, report = factorize(model, {"rank": 3}, samples=x)
    kernel, bias = fitted(x, y, 3)
    # But for the ridge, which counts a thousandth.
    np.testing.assert_allclose(
        np.square(predict(smaller, x) - y).sum(),
        np.square(x @ kernel + bias - y).sum(),
        rtol=1e-3,
    )
    assert smaller.layers[-1].use_bias
    (row,) = report.layers
    error = np.square(predict(smaller, x) - y).sum()
    error /= np.square(y - y.mean(0)).sum()
    assert row.output_error == pytest.approx(np.sqrt(error), rel=1e-3)
    assert row.parameters_after == smaller.count_params() == 12 * 3 + 3 * 9 + 9


@pytest.mark.parametrize("strides, padding", [(1, "same"), (2, "valid")])
def test_a_convolution_is_the_best_of_its_rank(strides, padding):
    layer = layers.Conv2D(9, (3, 2), strides, padding, name="one")
    model = alone(layer, (7, 6, 5))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 7, 6, 5)).cumsum(1).astype("float32")
    smaller, _ = factorize(
        model, {"rank": 3}, samples=x, positions=42, batch_size=16
    )
    y = predict(model, x).reshape(-1, 9)
    columns = keras.ops.convert_to_numpy(
        keras.ops.image.extract_patches(x, (3, 2), strides, padding=padding)
    ).reshape(-1, 30)
    kernel, bias = fitted(columns, y, 3)
    best = np.square(columns @ kernel + bias - y).sum()
    found = np.square(predict(smaller, x).reshape(-1, 9) - y).sum()
    assert found == pytest.approx(best, rel=1e-3)


def test_errors_of_earlier_layers_are_made_good():
    """The second layer is fitted to inputs as the first one leaves them."""
    inputs = keras.Input((12,))
    x = layers.Dense(14, activation="relu", name="first")(inputs)
    model = distinct_weights(
        keras.Model(inputs, layers.Dense(10, name="second")(x))
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 12)).astype("float32")
    smaller, _ = factorize(model, {"rank": 4}, samples=x)
    inside = keras.Model(smaller.input, smaller.get_layer("first").output)
    kernel, bias = fitted(predict(inside, x), predict(model, x), 4)
    best = predict(inside, x) @ kernel + bias - predict(model, x)
    found = predict(smaller, x) - predict(model, x)
    assert np.square(found).sum() == pytest.approx(
        np.square(best).sum(), rel=2e-3
    )


def test_a_shared_layer_is_fitted_to_all_its_calls():
    inputs = [keras.Input((12,), name="a"), keras.Input((12,), name="b")]
    shared = layers.Dense(10, name="shared")
    model = distinct_weights(
        keras.Model(inputs, [shared(inputs[0]), shared(inputs[1])])
    )
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300, 12)).astype("float32")
    a[:, :6] *= 0.1
    b[:, 6:] = 1 - 0.1 * b[:, 6:]
    smaller, _ = factorize(model, {"rank": 4}, samples=[a, b])
    x = np.concatenate([a, b])
    y = np.concatenate([np.asarray(each) for each in model([a, b])])
    kernel, bias = fitted(x, y, 4)
    found = np.concatenate([np.asarray(each) for each in smaller([a, b])])
    assert np.square(found - y).sum() == pytest.approx(
        np.square(x @ kernel + bias - y).sum(), rel=1e-3
    )


def test_samples_come_in_many_forms():
    """Arrays, batches, batches with labels, by name: all the same."""
    model, x = classifier(), images(12)
    labels = np.zeros(5)
    forms = [
        x,
        {"image": x},
        [x[:5], x[5:10], x[10:]],
        [(part, labels[: len(part)]) for part in (x[:5], x[5:10], x[10:])],
        ({"image": x[start : start + 5]} for start in (0, 5, 10)),
    ]
    forms[-1] = list(forms[-1])
    results = [
        factorize(model, macs=0.5, samples=form, batch_size=5)[0]
        for form in forms
    ]
    for other in results[1:]:
        for one, two in zip(results[0].get_weights(), other.get_weights()):
            np.testing.assert_array_equal(one, two)


def test_a_seed_draws_the_positions():
    first, again, other = (
        factorize(
            classifier(), macs=0.5, samples=images(), positions=4, seed=seed
        )[0].get_weights()
        for seed in (1, 1, 2)
    )
    assert all((a == b).all() for a, b in zip(first, again))
    assert any((a != b).any() for a, b in zip(first, other))


def test_biases_that_samples_add_are_within_the_budget():
    inputs = keras.Input((12,))
    x = layers.Dense(12, use_bias=False, name="first")(inputs)
    model = distinct_weights(
        keras.Model(inputs, layers.Dense(12, use_bias=False, name="last")(x))
    )
    x = np.random.default_rng(0).normal(size=(200, 12))
    for samples in (None, x):
        smaller, report = factorize(model, parameters=0.5, samples=samples)
        assert smaller.count_params() <= 0.5 * model.count_params()
        assert report.parameters_after == smaller.count_params()


def test_normalization_and_dropout_are_at_rest():
    inputs = keras.Input((6, 6, 5))
    x = layers.Conv2D(9, 3, name="one")(inputs)
    x = layers.BatchNormalization()(x, training=True)
    x = layers.Dropout(0.5, seed=1)(x)
    x = layers.Conv2D(9, 3, name="two")(x)
    model = distinct_weights(keras.Model(inputs, x))
    before = [np.array(w) for w in model.get_weights()]
    x = np.random.default_rng(0).normal(size=(40, 6, 6, 5))
    results = [factorize(model, {"rank": 3}, samples=x)[0] for _ in range(2)]
    for one, two in zip(*(r.get_weights() for r in results)):
        np.testing.assert_array_equal(one, two)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_wide_layers_are_corrected_with_fewer_samples_than_inputs(monkeypatch):
    monkeypatch.setattr("fritz_compress.ops.reduced_rank.WIDE", 100)
    model = alone(layers.Dense(20, name="one"), (300,))
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, 300))
    seen, unseen = (
        (rng.normal(size=(60, 8)) @ mixing).astype("float32") for _ in range(2)
    )
    errors = []
    for samples in (None, seen):
        smaller, _ = factorize(model, {"rank": 5}, samples=samples)
        difference = predict(smaller, unseen) - predict(model, unseen)
        errors.append(np.square(difference).sum())
    assert errors[1] < 0.5 * errors[0]


def test_calls_that_name_their_arguments_are_fitted():
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(12, 3, name="convolution")(inputs=inputs)
    x = layers.Flatten()(x)
    x = layers.Dense(9, name="hidden")(x, training=False)
    x = layers.Dense(7, name="dense")(x)
    model = distinct_weights(keras.Model(inputs, x))
    samples = related(30, 0)[:, :6, :6]
    smaller, report = factorize(model, {"rank": 2}, samples=samples)
    names = [row.name for row in report.factorized]
    assert names == ["convolution", "hidden", "dense"]
    assert all(0 < row.output_error < 1 for row in report.factorized)
    alone, _ = factorize(model, {"rank": 2})
    expected = predict(model, samples)
    better, worse = (
        np.square(predict(found, samples) - expected).sum()
        for found in (smaller, alone)
    )
    assert better < 0.9 * worse
