"""Product quantization that keeps what a layer computes, not its weights."""

import numpy as np

from fritz_compress.ops import codes as coded
from fritz_compress.ops.product_quantization import (
    product_quantize,
    sub_vectors,
)

RIDGE = (
    1e-4  # Of the mean curvature: how far codebooks move where data is flat.
)
ENOUGH = 1e-3  # Relative gain of a sweep below which the next is not worth it.


def error_corrected_quantize(
    kernel: np.ndarray,
    nbits: int,
    dimension: int,
    patches: np.ndarray,
    targets: np.ndarray,
    groups: tuple[int, int, int] | None = None,
    sweeps: int = 10,
    seed: int = 0,
) -> coded.ProductCodes:
    """Codes a kernel so that its outputs are close, on sample inputs.

    Starts with `product_quantize` along the inputs. Then, codebook after
    codebook, solves for the entries that bring `patches @ kernel` closest to
    `targets` (least squares, with all other codebooks as they are), and gives
    each sub-vector the entry that lowers this error most. No step raises it.
    It is the error on the samples: with fewer samples than inputs of an
    output, it says little about others.

    Args:
        kernel: Shape `(positions, inputs, outputs)`; a dense layer has one
            position, a 3 x 3 convolution nine.
        nbits: Bits of one code, 1 to 16.
        dimension: Inputs in a sub-vector, a divisor of `inputs`.
        patches: What the kernel is applied to, of shape `(samples, positions,
            inputs)`: with the errors of the layers before, if they are
            quantized.
        targets: What it should give, of shape `(samples, outputs)`, without
            bias: the original kernel on original inputs.
        groups: Shape of the groups with a codebook of their own, divisors of
            `(positions, inputs / dimension, outputs)`. By default each
            sub-space of the inputs has one.
        sweeps: How often, at most, all codebooks are updated.
        seed: Seed of the k-means at the start.

    Returns: the codes, with `axis` 1. Sub-vectors of zeros stay zero.

    Raises:
        ValueError: as `product_quantize`, and for samples that do not fit.

    Reference: Wu et al., "Quantized convolutional neural networks for mobile
    devices", https://arxiv.org/abs/1512.06473, section 3.2 and 3.3. Unlike
    there, the entries of a codebook are solved for together.
    """
    kernel = np.asarray(kernel, "float32")
    patches, targets = _checked_samples(kernel, patches, targets)
    if groups is None:
        groups = (1, kernel.shape[1] // max(dimension, 1), 1)
    start = product_quantize(kernel, nbits, dimension, 1, groups, seed=seed)
    problem = _Problem(kernel, start, patches, targets)
    blocks = [_Block(problem, group) for group in np.ndindex(*groups)]
    error = problem.error()
    for _ in range(sweeps):
        for block in blocks:
            block.improve()
        before, error = error, problem.error()
        if error > (1 - ENOUGH) * before:
            break
    return problem.solution(start)


class _Problem:
    """Codes and codebooks in float64, with the residual that they leave."""

    def __init__(self, kernel, start, patches, targets):
        length = start.length
        self.codebooks = start.codebooks.astype("float64")
        self.codes = start.codes.astype("int64")
        self.pruned = ~sub_vectors(kernel, 1, length).any(-1)
        self.inputs = patches.reshape(*patches.shape[:2], -1, length)
        flat = patches.reshape(len(patches), -1)
        decoded = start.decode().reshape(flat.shape[1], -1)
        self.residual = targets - flat @ decoded

    def error(self):
        return np.square(self.residual).sum()

    def solution(self, start):
        return coded.ProductCodes(
            codes=self.codes.astype(start.codes.dtype),
            codebooks=self.codebooks.astype("float32"),
            axis=start.axis,
            nbits=start.nbits,
        )


class _Block:
    """What has one codebook. Its places are the sub-vectors of an output.

    The squared error is a quadratic function of the weights of a block:
    `curvature` holds the products of the inputs, of shape `(places, length,
    places, length)`; `pull`, of shape `(places, length, outputs)`, those of
    the inputs and what the other blocks leave to this one.
    """

    def __init__(self, problem, group):
        sides, counts = problem.codes.shape, problem.codebooks.shape
        cut = tuple(
            slice(index * side // count, (index + 1) * side // count)
            for index, side, count in zip(group, sides, counts)
        )
        inputs = problem.inputs[:, cut[0], cut[1]]
        *_, length = inputs.shape
        self.inputs = inputs.reshape(len(inputs), -1)
        self.curvature = (self.inputs.T @ self.inputs).reshape(
            self.inputs.shape[1] // length, length, -1, length
        )
        # Views: what is changed here is changed in the problem.
        self.codes = problem.codes[cut]
        self.codebook = problem.codebooks[group]
        self.residual = problem.residual[:, cut[2]]
        self.pruned = problem.pruned[cut].reshape(len(self.curvature), -1)

    def improve(self):
        """Solves for the codebook, then gives every place its best entry."""
        codes = self.codes.reshape(self.pruned.shape)
        self.residual += self.inputs @ _weights(self.codebook, codes)
        pull = (self.inputs.T @ self.residual).reshape(
            *self.curvature.shape[:2], -1
        )
        self.codebook[:] = self._best_codebook(codes, pull)
        codes = self._better_codes(codes.copy(), pull)
        self.residual -= self.inputs @ _weights(self.codebook, codes)
        self.codes[:] = codes.reshape(self.codes.shape)

    def _best_codebook(self, codes, pull):
        """The entries with the least error; one of zeros stays."""
        size, length = self.codebook.shape
        matrix = np.zeros((size, size, length, length))
        slope = np.zeros((size, length))
        for i, own in enumerate(codes):
            np.add.at(slope, own, pull[i].T)
            for j, other in enumerate(codes):
                pairs = np.bincount(own * size + other, minlength=size**2)
                first, second = np.nonzero(pairs.reshape(size, size))
                matrix[first, second] += np.multiply.outer(
                    pairs[first * size + second], self.curvature[i, :, j]
                )
        free = np.repeat(self.codebook.any(1), length)
        matrix = matrix.swapaxes(1, 2).reshape(size * length, -1)
        matrix = matrix[np.ix_(free, free)]
        flat = self.codebook.reshape(-1)
        slope = slope.reshape(-1)[free] - matrix @ flat[free]
        # Pulled towards the entries of before, so that no error can rise.
        ridge = RIDGE * np.trace(matrix) / max(len(matrix), 1)
        matrix[np.diag_indices_from(matrix)] += ridge or 1.0
        best = flat.copy()
        best[free] += np.linalg.solve(matrix, slope)
        return best.reshape(size, length)

    def _better_codes(self, codes, pull):
        """Place after place, the entry of least error for each output."""
        codebook = self.codebook
        weights = codebook[codes]
        for i, pruned in enumerate(self.pruned):
            own = self.curvature[i, :, i]
            others = np.einsum("ajb,job->ao", self.curvature[i], weights)
            others -= own @ weights[i].T
            error = np.einsum("ka,ab,kb->k", codebook, own, codebook)[:, None]
            error = error + 2 * codebook @ (others - pull[i])
            codes[i] = np.where(pruned, codes[i], error.argmin(0))
            weights[i] = codebook[codes[i]]
        return codes


def _weights(codebook, codes):
    """The weights of a group, of shape `(places * length, outputs)`."""
    return np.moveaxis(codebook[codes], 2, 1).reshape(-1, codes.shape[1])


def _checked_samples(kernel, patches, targets):
    patches = np.asarray(patches, "float64")
    targets = np.asarray(targets, "float64")
    if kernel.ndim != 3:
        raise ValueError(
            "`kernel` must have the shape (positions, inputs, outputs). "
            f"Received: shape {kernel.shape}."
        )
    for name, samples, shape in (
        ("patches", patches, kernel.shape[:2]),
        ("targets", targets, kernel.shape[2:]),
    ):
        if samples.shape[1:] != shape or len(samples) != len(patches):
            raise ValueError(
                f"`{name}` must have the shape {(len(patches), *shape)}, as "
                f"the kernel has {kernel.shape}. Received: {samples.shape}."
            )
        if not samples.size or not np.isfinite(samples).all():
            raise ValueError(
                f"`{name}` must be finite and not empty. Received: shape "
                f"{samples.shape}."
            )
    return patches, targets
