"""Kernels as products of three and of four factors: Tucker and CP.

Decompositions as `ops.decomposition` describes them.
"""

import math

import numpy as np

from fritz_compress.ops import low_rank
from fritz_compress.ops.decomposition import (
    Decomposition,
    flat,
    float32,
    growing_ranks,
    matrix_rank,
)
from fritz_compress.ops.reduced_rank import reduced_rank

STARTS, ROUGH = 3, 50  # Random ones, and sweeps of each, before the best
SWEEPS = 200  # has so many more.
RIDGE = 1e-10  # Keeps them regular where a lower rank is enough.


class Tucker(Decomposition):
    """Fewer inputs, a small kernel of fewer outputs, then all outputs.

    A rank is a pair: inputs and outputs of the small kernel. A single number
    stands for both.

    Reference: Kim et al., "Compression of deep convolutional neural networks
    for fast and low power mobile applications",
    https://arxiv.org/abs/1511.06530, section 3.1.
    """

    equation = "is,pst,to->pio"

    def checked(self, shape, rank):
        pair = (rank, rank) if isinstance(rank, int) else tuple(rank)
        positions, inputs, outputs = _merged(shape)
        largest = (
            min(inputs, positions * outputs),
            min(outputs, positions * inputs),
        )
        if len(pair) != 2:
            raise ValueError(
                "`rank` must be two numbers, for inputs and outputs. "
                f"Received: {rank}."
            )
        for number, most in zip(pair, largest):
            low_rank.check_rank(number, most)
        if max(pair) > positions * min(pair):
            raise ValueError(
                f"`rank` must not be more than {positions} times as large for "
                "one of inputs and outputs as for the other, as more adds "
                f"weights but nothing else. Received: rank={pair}."
            )
        return pair

    def candidates(self, shape):
        positions, inputs, outputs = _merged(shape)
        pairs = np.indices((inputs, outputs)).reshape(2, -1).T + 1
        useful = pairs.max(1) <= positions * pairs.min(1)
        return pairs[useful]

    def shapes(self, shape, rank):
        (s, t), (positions, inputs, outputs) = rank, _merged(shape)
        return (inputs, s), (positions, s, t), (t, outputs)

    def errors(self, kernel, candidates, seed=0):
        """Those of the higher-order SVD, which alternation lowers a little."""
        kernel = flat(kernel).astype("float64")
        core = np.einsum(
            "pio,is,ot->pst",
            kernel,
            _directions(np.moveaxis(kernel, 1, 0)),
            _directions(np.moveaxis(kernel, 2, 0)),
            optimize=True,
        )
        kept = np.square(core).sum(0).cumsum(0).cumsum(1)
        kept = kept[candidates[:, 0] - 1, candidates[:, 1] - 1]
        total = np.square(kernel).sum()
        return np.maximum(total - kept, 0) / (total or 1.0)

    def bayesian_rank(self, kernel):
        positions = len(flat(kernel))
        s, t = _mode_ranks(kernel)
        return min(s, positions * t), min(t, positions * s)

    def factors(self, kernel, rank, seed=0):
        from tensorly.decomposition import partial_tucker

        if not kernel.any():
            return self.zeros(kernel.shape, rank)
        (core, (first, last)), _ = partial_tucker(
            flat(kernel).astype("float64"),
            rank,
            modes=[1, 2],
            random_state=seed,
        )
        return float32(first, core, last.T)

    def corrected(self, regression, factors, shape):
        """The best outputs for all inputs, of which then the main ones stay."""
        first, core, last = factors
        left, _ = reduced_rank(regression, len(last))
        left = flat(left.reshape(*shape[:-1], -1))
        mixed = np.moveaxis(left, 1, 0)
        first = _directions(mixed)[:, : first.shape[1]]
        core = np.einsum("pit,is->pst", left, first)
        return super().corrected(regression, float32(first, core, last), shape)


class CP(Decomposition):
    """A sum of products of four vectors: inputs, column, row and outputs.

    Found by alternating least squares from random starts. The error of a rank
    is only known once that is done, so that ranks by energy or budget
    are chosen among some, each a fifth above the one before, and for kernels
    of hundreds of channels take minutes.

    Reference: Lebedev et al., "Speeding-up convolutional neural networks
    using fine-tuned CP-decomposition", https://arxiv.org/abs/1412.6553.
    """

    equation = "ir,hr,wr,ro->hwio"

    def checked(self, shape, rank):
        low_rank.check_one_rank(rank, _largest(shape))
        return (rank,)

    def candidates(self, shape):
        return growing_ranks(_largest(shape))

    def shapes(self, shape, rank):
        (r,), (height, width, inputs, outputs) = rank, shape
        return (inputs, r), (height, r), (width, r), (r, outputs)

    def errors(self, kernel, candidates, seed=0):
        found = []
        for (rank,) in candidates:
            error, _ = self._fitted(kernel, rank, seed)
            found.append(error)
        # A larger rank can do what a smaller one did.
        return np.minimum.accumulate(np.array(found))

    def bayesian_rank(self, kernel):
        """That of the inputs or of the outputs: no less can be enough."""
        return (max(_mode_ranks(kernel)),)

    def factors(self, kernel, rank, seed=0):
        if not kernel.any():
            return self.zeros(kernel.shape, rank)
        random = np.random.RandomState(seed)
        starts = [self._fitted(kernel, *rank, random) for _ in range(STARTS)]
        _, best = min(starts, key=lambda start: start[0])
        _, found = self._fitted(kernel, *rank, start=best, sweeps=SWEEPS)
        height, width, inputs, outputs = _balanced(found.factors)
        return float32(inputs, height, width, outputs.T)

    def _fitted(self, kernel, rank, seed=None, start="random", sweeps=ROUGH):
        """The squared error, as a share of the kernel's, and the tensor."""
        from tensorly.decomposition import parafac

        size = np.linalg.norm(kernel.astype("float64"))
        if not size:
            return 0.0, None
        found = parafac(
            kernel.astype("float64"),
            rank,
            n_iter_max=sweeps,
            init=start,
            random_state=seed,
            l2_reg=RIDGE * size**2,
        )
        difference = np.linalg.norm(found.to_tensor() - kernel)
        return (difference / size) ** 2, found


def _merged(shape):
    *positions, inputs, outputs = shape
    return math.prod(positions), inputs, outputs


def _largest(shape):
    """The rank with which any such kernel can be written."""
    return math.prod(shape) // max(shape)


def _directions(unfolded):
    """Orthonormal directions of the first axis, those of most energy first."""
    matrix = unfolded.reshape(len(unfolded), -1)
    return np.linalg.eigh(matrix @ matrix.T)[1][:, ::-1]


def _mode_ranks(kernel):
    """Bayesian ranks of the inputs and of the outputs."""
    kernel = flat(kernel)
    inputs = np.moveaxis(kernel, 1, 0)
    return (
        matrix_rank(inputs.reshape(len(inputs), -1)),
        matrix_rank(kernel.reshape(-1, kernel.shape[-1])),
    )


def _balanced(factors):
    """The same products with columns of equal norms in all factors."""
    norms = np.stack([np.linalg.norm(factor, axis=0) for factor in factors])
    common = np.prod(norms, axis=0) ** (1 / len(factors))
    return [
        factor
        * np.divide(common, norm, where=norm > 0, out=np.zeros_like(norm))
        for factor, norm in zip(factors, norms)
    ]
