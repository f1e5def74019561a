"""The rank of a matrix without its noise, by variational Bayes."""

import functools

import numpy as np
import scipy.optimize

GRID = 1000  # Variances of which the best is refined.
LEAST = 1e-14  # Of the mean square: below is what float32 rounds away.


def bayesian_rank(
    singular_values: np.ndarray, shape: tuple[int, int]
) -> tuple[int, float]:
    """How many singular values are more than noise, and how large that is.

    The matrix is taken as a product of two thin ones with normal entries, plus
    normal noise. The variances of all are estimated along with the rest
    (empirical variational Bayes), and all but as many columns as are needed
    come out as zero. The minimum of the free energy is known in closed form
    for a given variance of the noise, so that one number is searched for.

    Args:
        singular_values: All of them.
        shape: Shape of the matrix.

    Returns: the rank, 0 if all is noise, and the variance of the noise in an
    entry of the matrix.

    Raises:
        ValueError: if there are not `min(shape)` values.

    References: Nakajima, Sugiyama, Babacan and Tomioka, "Global analytic
    solution of fully-observed variational Bayesian matrix factorization",
    JMLR 14, 2013, theorem 2; Nakajima, Tomioka, Sugiyama and Babacan,
    "Condition for perfect dimensionality recovery by variational Bayesian
    PCA", JMLR 16, 2015, theorems 2 and 3.

    Example: a matrix of rank 2 and noise of variance 0.01.

    >>> bayesian_rank(low_rank.singular_values(matrix), matrix.shape)
    (2, 0.0101)
    """
    short, long = sorted(shape)
    values = np.sort(np.asarray(singular_values, "float64"))[::-1]
    if len(values) != short:
        raise ValueError(
            f"A matrix of shape {tuple(shape)} has {short} singular values. "
            f"Received: {len(values)}."
        )
    squares = values**2 / long
    scale = squares.mean()
    if not scale:
        return 0, 0.0
    noise = scale * _noise_variance(squares / scale, short / long)
    return int((squares > noise * _threshold(short / long)).sum()), float(noise)


def _noise_variance(squares, alpha):
    """The minimum of the free energy, for squares of mean 1, falling."""
    threshold = _threshold(alpha)
    most = min(int(np.ceil(len(squares) / (1 + alpha))) - 1, len(squares) - 1)
    rest = squares[most:]
    lowest = max(rest[0] / threshold, rest.mean(), LEAST)
    grid = np.geomspace(lowest, 1, GRID) if lowest < 1 else np.ones(1)
    energies = [_free_energy(noise, squares, alpha) for noise in grid]
    best = int(np.argmin(energies))
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = scipy.optimize.minimize_scalar(
        _free_energy, bounds=around, args=(squares, alpha), method="bounded"
    )
    return found.x if found.fun < energies[best] else grid[best]


def _free_energy(noise, squares, alpha):
    """What depends on the variance of the noise, all else at its best."""
    ratios = squares / noise
    kept = ratios[ratios > _threshold(alpha)]
    above = kept - (1 + alpha)
    signal = (above + np.sqrt(above**2 - 4 * alpha)) / 2
    gain = np.log1p(signal) + alpha * np.log1p(signal / alpha) - signal
    return ratios.sum() + len(squares) * np.log(noise) + gain.sum()


@functools.lru_cache
def _threshold(alpha):
    """Least ratio of a squared singular value to the noise that is signal."""

    def balance(signal):
        left = np.log1p(signal) + alpha * np.log1p(signal / alpha)
        return left / signal - 1

    signal = scipy.optimize.brentq(balance, np.sqrt(alpha), 3)
    return (1 + signal) * (1 + alpha / signal)
