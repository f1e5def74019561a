"""Error correction against plain numpy, on samples seen and unseen."""

import numpy as np
import pytest

from fritz_compress.ops import error_correction
from fritz_compress.ops.error_correction import error_corrected_quantize
from fritz_compress.ops.product_quantization import product_quantize

CASES = {
    "dense": ((1, 16, 24), None),
    "convolution": ((9, 8, 12), None),
    "one_codebook": ((4, 8, 12), (1, 1, 1)),
    "all_split": ((4, 8, 24), (2, 2, 3)),
}


def problem(shape, samples=600, seed=0):
    """A kernel, correlated inputs as of a layer, and what it makes of them."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=shape).astype("float32")
    count = shape[0] * shape[1]
    mixed = rng.normal(size=(samples, count // 4)) @ rng.normal(
        size=(count // 4, count)
    )
    patches = np.maximum(mixed, 0).reshape(samples, *shape[:2])
    return kernel, patches, outputs(patches, kernel)


def outputs(patches, kernel):
    return np.einsum("npi,pio->no", patches, kernel)


def error(codes, patches, targets):
    return np.square(outputs(patches, codes.decode()) - targets).sum()


@pytest.mark.parametrize("case", CASES)
def test_output_error_falls_on_unseen_samples_too(case):
    shape, groups = CASES[case]
    kernel, patches, targets = problem(shape)
    seen, unseen = slice(400), slice(400, None)
    corrected = error_corrected_quantize(
        kernel, 3, 4, patches[seen], targets[seen], groups
    )
    plain = product_quantize(kernel, 3, 4, 1, groups or (1, shape[1] // 4, 1))
    assert corrected.shape == kernel.shape and corrected.axis == 1
    assert corrected.codebooks.shape == plain.codebooks.shape
    for part in (seen, unseen):
        before = error(plain, patches[part], targets[part])
        assert error(corrected, patches[part], targets[part]) < 0.7 * before


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("samples", [3, 400])
def test_no_sweep_makes_it_worse(case, samples, monkeypatch):
    monkeypatch.setattr(error_correction, "ENOUGH", -np.inf)
    shape, groups = CASES[case]
    kernel, patches, targets = problem(shape, samples)
    errors = [
        error(
            error_corrected_quantize(
                kernel, 2, 4, patches, targets, groups, sweeps
            ),
            patches,
            targets,
        )
        for sweeps in range(4)
    ]
    plain = product_quantize(kernel, 2, 4, 1, groups or (1, shape[1] // 4, 1))
    assert errors[0] == pytest.approx(error(plain, patches, targets))
    assert (np.diff(errors) <= 1e-6 * errors[0]).all()
    assert errors[-1] < errors[0]


def test_codebook_is_the_least_squares_solution():
    kernel, patches, targets = problem((3, 4, 5))
    codes = error_corrected_quantize(kernel, 1, 4, patches, targets, sweeps=40)
    # The design matrix of both entries: what each is multiplied with.
    design = np.stack(
        [
            np.einsum("npi,po->noi", patches, codes.codes[:, 0] == entry)
            for entry in (0, 1)
        ],
        axis=2,
    ).reshape(targets.size, 8)
    best = np.linalg.lstsq(design, targets.reshape(-1))[0]
    np.testing.assert_allclose(codes.codebooks.reshape(8), best, rtol=0.01)


def test_errors_of_the_inputs_are_corrected_too():
    kernel, patches, targets = problem((1, 16, 24))
    damaged = patches * 0.5
    codes = error_corrected_quantize(kernel, 4, 4, damaged, targets)
    assert (
        error(codes, damaged, targets)
        < 0.5 * np.square(outputs(damaged, kernel) - targets).sum()
    )


def test_pruned_sub_vectors_stay_zero():
    kernel, patches, targets = problem((4, 8, 12))
    kernel[1:3, 4:, ::2] = 0
    decoded = error_corrected_quantize(kernel, 3, 4, patches, targets).decode()
    assert (decoded[1:3, 4:, ::2] == 0).all()
    assert (decoded[1:3, 4:, 1::2] != 0).any()


def test_dead_inputs_keep_their_codebook():
    kernel, patches, targets = problem((1, 8, 12))
    codes = error_corrected_quantize(kernel, 2, 4, 0 * patches, targets)
    plain = product_quantize(kernel, 2, 4, 1, (1, 2, 1))
    assert (codes.codebooks == plain.codebooks).all()


def test_arrays_given_stay_as_they_were():
    arrays = problem((4, 8, 12))
    copies = [array.copy() for array in arrays]
    error_corrected_quantize(arrays[0], 3, 4, *arrays[1:])
    for array, copy in zip(arrays, copies):
        assert (array == copy).all()


def test_samples_that_do_not_fit_are_refused():
    kernel, patches, targets = problem((4, 8, 12))
    with pytest.raises(ValueError, match=r"`kernel`.*\(32, 12\)"):
        error_corrected_quantize(kernel.reshape(32, 12), 3, 4, patches, targets)
    with pytest.raises(ValueError, match=r"`patches` must have.*\(600, 4, 8\)"):
        error_corrected_quantize(kernel, 3, 4, patches[..., :4], targets)
    with pytest.raises(ValueError, match=r"`targets` must have.*\(600, 12\)"):
        error_corrected_quantize(kernel, 3, 4, patches, targets[:10])
    with pytest.raises(ValueError, match="`targets` must be finite"):
        error_corrected_quantize(kernel, 3, 4, patches, targets * np.nan)
