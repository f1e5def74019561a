"""What `sensitivity` is called with, checked."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras

from fritz_compress.checks import (
    check_fraction,
    check_no_nan,
    check_numbers,
    described,
    is_whole,
)

_LARGER_IS_BETTER = r"acc|auc|precision|recall|f1|f_?beta|iou|dice|r2|psnr|ssim"
_SMALLER_IS_BETTER = r"loss|error|mse|mae|mape|rmse|entropy|divergence|hinge"


def checked_fractions(fractions: Any) -> tuple[float, ...]:
    """One fraction or several, rising, each once."""
    fractions = check_numbers("fractions", fractions, "fractions in (0, 1)")
    for fraction in fractions:
        check_fraction("fractions", fraction, "(0, 1)")
    return tuple(sorted({float(fraction) for fraction in fractions}))


def check_jobs(n_jobs: Any) -> None:
    """Whether joblib could start so many processes."""
    if n_jobs is not None and (not is_whole(n_jobs) or n_jobs == 0):
        raise ValueError(
            "`n_jobs` must be a number of processes, -1 for one per core, or "
            f"`None`. Received: n_jobs={described(n_jobs)}."
        )


def check_evaluation(
    model: keras.Model,
    x: Any,
    y: Any,
    evaluate: Callable | None,
    mode: str,
    caller: str = "sensitivity",
) -> None:
    """Whether the model can be evaluated, and on numbers."""
    if mode not in ("auto", "max", "min"):
        raise ValueError(
            "`mode` must be 'auto', or the better direction of the metric, "
            f"'max' or 'min'. Received: mode={mode!r}."
        )
    if (x is None) == (evaluate is None):
        raise ValueError(
            f"Pass either data, `{caller}(model, x, y)`, or a function, "
            f"`{caller}(model, evaluate=function)`. Received: "
            f"{'neither' if x is None else 'both'}."
        )
    if evaluate is not None and not callable(evaluate):
        raise TypeError(
            "`evaluate` must be a function that is called with a model and "
            f"returns its metrics. Received: {described(evaluate)}."
        )
    if evaluate is None and not model.compiled:
        raise ValueError(
            f"Model '{model.name}' must be compiled with the metrics that "
            "count. Call `model.compile(loss=..., metrics=[...])`, or pass "
            "`evaluate`."
        )
    if y is None and _is_arrays(x) and evaluate is None and model.loss:
        raise ValueError(
            f"Model '{model.name}' has a loss, which needs targets. Received: "
            f"`x` without `y`. Pass `{caller}(model, x, y)`."
        )
    check_no_nan("`x`", x)


def checked_metric(metric: str | None, baseline: Mapping[str, float]) -> str:
    """The name of the metric to look at, which is there and a number."""
    if metric is None:
        others = [name for name in baseline if name != "loss"]
        if len(others) > 1:
            raise ValueError(
                "Name the metric that counts. Expected `metric` to be one of "
                f"{', '.join(baseline)}."
            )
        metric = (others or ["loss"])[0]
    if metric not in baseline:
        raise ValueError(
            f"`metric` must be one of {', '.join(baseline)}. Received: "
            f"metric={metric!r}."
        )
    if not math.isfinite(baseline[metric]):
        raise ValueError(
            f"Metric '{metric}' must be a finite number for the model as it "
            f"is. Received: {baseline[metric]}."
        )
    return metric


def better_direction(mode: str, metric: str) -> str:
    """`"max"` or `"min"`: what `mode` says, or the name of the metric."""
    if mode != "auto":
        return mode
    smaller = re.search(_SMALLER_IS_BETTER, metric.lower())
    larger = re.search(_LARGER_IS_BETTER, metric.lower())
    if bool(smaller) == bool(larger):
        raise ValueError(
            f"Whether a larger '{metric}' is better cannot be told from its "
            "name. Pass `mode='max'` if it is, else `mode='min'`."
        )
    return "min" if smaller else "max"


def _is_arrays(x):
    return all(hasattr(part, "shape") for part in keras.tree.flatten(x))
