"""How far a compression has come after a number of optimizer steps."""


def fraction_at(
    step: int, final_fraction: float, begin_step: int, end_step: int
) -> float:
    """Fraction to hold at zero after `step` optimizer steps.

    Rises from 0 at `begin_step` to `final_fraction` at `end_step` along
    `final_fraction * (1 - (1 - progress)^3)`: quickly while there is much to
    spare, slowly at the end. It stays at `final_fraction` afterwards.

    Args:
        step: Optimizer steps done.
        final_fraction: Fraction to reach, in `[0, 1]`.
        begin_step: Last step with fraction 0.
        end_step: First step with `final_fraction`, above `begin_step`.

    Reference: Zhu and Gupta, "To prune, or not to prune",
    https://arxiv.org/abs/1710.01878, equation 1 with zero initial sparsity.

    Example: halfway, 7/8 of the fraction is reached.

    >>> fraction_at(50, final_fraction=0.8, begin_step=0, end_step=100)
    0.7
    """
    progress = (step - begin_step) / (end_step - begin_step)
    progress = min(max(progress, 0.0), 1.0)
    return final_fraction * (1.0 - (1.0 - progress) ** 3)
