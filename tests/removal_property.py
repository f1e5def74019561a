"""What must hold for any removal from any model."""

import contextlib
import pathlib
import tempfile

import keras
import numpy as np
from removal_oracle import difference, predict
from silencing_oracle import removed_channels, silenced_outputs

from fritz_compress import surgery

TOLERANCE = 1e-4
SHARE = 1 / 3


class Discarded(Exception):
    """A model that says nothing about removals, and why."""


def check(model: keras.Model, seed: int) -> None:
    """All that must hold of a model.

    Args:
        model: Its weights may be others afterwards.
        seed: Of inputs and of the choice of channels. For every second one
            the smaller model is saved and loaded. One in three has the check
            of zeroed channels as well, another one that of statistics.

    Raises:
        Discarded: as `check_removal` does.
        AssertionError: if the engine is wrong.
    """
    smaller, inputs = check_removal(model, seed)
    if seed % 2 == 0:
        assert_saves(smaller, inputs)
    further = (None, check_zeroed, check_normalized)[seed % 3]
    if further is not None:
        with contextlib.suppress(Discarded):
            further(model, seed)


def check_removal(model: keras.Model, seed: int):
    """Removes a third of all channels and compares with the oracle.

    Returns: the smaller model, and the inputs.

    Raises:
        Discarded: if there is nothing to remove, or the outputs would not
            show a mistake.
        AssertionError: if the removal is wrong.
    """
    rng = np.random.default_rng(seed)
    inputs = random_inputs(model, rng)
    before = model.get_config(), model.get_weights()
    groups = surgery.channel_groups(model)
    smaller, removed = _remove(model, groups, rng)
    wanted = _oracle(model, removed, inputs)
    _check_sane(model, groups, rng, inputs, wanted)

    assert_untouched(model, *before)
    assert difference(wanted, predict(smaller, inputs)) < TOLERANCE
    assert smaller.count_params() < model.count_params()
    return smaller, inputs


def check_zeroed(model: keras.Model, seed: int) -> None:
    """Zeroes a third of the channels that then stay zero, and removes them.

    Raises:
        Discarded: if there are none.
        AssertionError: if the output changes, or a channel stays.
    """
    rng = np.random.default_rng(seed)
    inputs = random_inputs(model, rng)
    groups = surgery.channel_groups(model)
    chosen = _choose(groups, rng, lambda group: group.keeps_zero)
    for place, channels in chosen.items():
        for share in groups.groups[place].shares:
            _zero(share, channels)
    before = model.get_config(), model.get_weights()
    wanted = predict(model, inputs)
    try:
        smaller = surgery.remove_pruned_filters(model)
    except ValueError as error:
        raise _discarded(error) from error
    assert_untouched(model, *before)
    assert np.isfinite(wanted).all()
    assert difference(wanted, predict(smaller, inputs)) < TOLERANCE
    assert smaller.count_params() < model.count_params()


def check_normalized(model: keras.Model, seed: int) -> None:
    """Removes channels that statistics are taken over, too."""
    rng = np.random.default_rng(seed)
    before = model.get_config(), model.get_weights()
    groups = surgery.channel_groups(model, prune_normalized=True)
    smaller, _ = _remove(model, groups, rng, prune_normalized=True)
    assert_untouched(model, *before)
    assert smaller.output_shape == model.output_shape
    assert smaller.count_params() < model.count_params()


def random_inputs(model, rng, count=2):
    """Samples for every input: indices of words, or numbers around zero."""
    return [
        (
            rng.integers(0, 7, (count, *tensor.shape[1:]))
            if "int" in tensor.dtype
            else rng.normal(size=(count, *tensor.shape[1:])).astype("float32")
        )
        for tensor in model.inputs
    ]


def assert_untouched(model, config, weights):
    assert model.get_config() == config
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def assert_saves(model, inputs):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.keras"
        model.save(path)
        loaded = keras.saving.load_model(path)
    np.testing.assert_allclose(
        predict(loaded, inputs), predict(model, inputs), rtol=1e-5, atol=1e-6
    )


def _remove(model, groups, rng, **options):
    """A smaller model, and what it lost by layer."""
    chosen = _choose(groups, rng, lambda group: group.frozen is None)
    removed = removed_channels(groups, chosen)
    try:
        return surgery.remove_filters(model, removed, **options), removed
    except ValueError as error:
        raise _discarded(error) from error


def _choose(groups, rng, which):
    """For groups, by place, a third of their channels, at least one."""
    chosen = {
        place: rng.choice(
            group.channels, max(1, int(SHARE * group.channels)), replace=False
        )
        for place, group in enumerate(groups)
        if which(group) and group.channels > 1
    }
    if not chosen:
        raise Discarded("nothing may be removed")
    return chosen


def _discarded(error):
    """A choice that would empty a slice is refused, and rightly so."""
    if "would lose all" not in str(error):
        raise error
    return Discarded("a tensor would lose all its channels")


def _zero(share, channels):
    values = keras.ops.convert_to_numpy(share.weight).copy()
    np.moveaxis(values, share.axis, 0)[np.isin(share.channels, channels)] = 0
    share.weight.assign(values)


def _oracle(model, removed, inputs):
    outputs = silenced_outputs(model, removed, inputs)
    return np.concatenate([o.astype("float64").ravel() for o in outputs])


def _check_sane(model, groups, rng, inputs, wanted):
    """Whether the comparison would show a mistake."""
    if not np.isfinite(wanted).all() or np.abs(wanted).max() > 1e4:
        raise Discarded("the signal explodes")
    if np.std(wanted) < 1e-3:
        raise Discarded("the signal dies")
    if difference(wanted, predict(model, random_inputs(model, rng))) < 1e-2:
        raise Discarded("the outputs do not depend on the inputs")
    other = _choose(groups, rng, lambda group: group.frozen is None)
    others = _oracle(model, removed_channels(groups, other), inputs)
    if difference(wanted, others) < 10 * TOLERANCE:
        raise Discarded("another removal gives the same outputs")
