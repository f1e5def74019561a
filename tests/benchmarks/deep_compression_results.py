"""Table and picture of what Deep Compression leaves of two networks."""

import csv
import dataclasses
import pathlib

import numpy as np
from result_tables import made_with, replace

from fritz_compress.files import whole_file
from fritz_compress.ops.sparse import to_relative

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "deep_compression.csv"
PICTURE = HERE / "deep_compression.png"
INDEX_BITS = 5  # Of a relative index, as in the paper's table for LeNets.

# Times smaller, and points of accuracy gained, in the papers: Han et al. 2015,
# table 1; Choi et al. 2017, table 1.
PAPERS = {
    "LeNet-300-100, Han et al. 2015, MNIST": ("lenet_300_100", "s", 40, 0.06),
    "LeNet-5, Han et al. 2015, MNIST": ("lenet_5", "s", 39, 0.06),
    "LeNet-5, Choi et al. 2017, MNIST": ("lenet_5", "D", 51.25, 0.03),
}


@dataclasses.dataclass(frozen=True)
class Size:
    """What the weights of a model take at a stage.

    Attributes:
        nbytes: All weights: values, positions, codebooks and biases.
        weight_bits: Of one kept weight of a kernel, codebooks apart.
        index_bits: Of telling where it is.
        codes_bytes: Of `nbytes`, the entropy coded codes and positions of
            kernels, without codebooks; 0 where nothing is entropy coded.
        entropy_bytes: The entropy of these codes and positions.
        file_bytes: The whole file with the architecture, 0 without one.
    """

    nbytes: int
    weight_bits: float
    index_bits: float
    codes_bytes: int = 0
    entropy_bytes: int = 0
    file_bytes: int = 0


def dense_size(model):
    """Four bytes for each number."""
    return Size(4 * model.count_params(), 32, 0)


def indexed_size(model, shared):
    """Kept weights behind relative indices, as the paper counts them.

    Args:
        model: A pruned model.
        shared: Whether weights are numbers of a codebook: of as many bits
            as it needs, the zero of fillers included.
    """
    bits, kept, value_bits, fixed = 0, 0, 0, 0
    for values in _kernels(model):
        stored = to_relative(values, INDEX_BITS).values
        kept += np.count_nonzero(values)
        width = 32
        if shared:
            size = len(np.unique(stored))
            width = max(int(size - 1).bit_length(), 1)
            fixed += 32 * size
        value_bits += len(stored) * width
        bits += len(stored) * (width + INDEX_BITS)
    fixed += 32 * sum(values.size for values in _biases(model))
    return Size(
        -(-(bits + fixed) // 8), value_bits / kept, (bits - value_bits) / kept
    )


def coded_size(model, report):
    """What `save_compressed` made of the weights.

    Bits of indices are the entropy of which weights are zero; the rest of the
    codes' bytes are bits of weights.
    """
    kernels = _kernels(model)
    kept = sum(map(np.count_nonzero, kernels))
    index_bits = sum(map(zeros_entropy, kernels))
    written = [w for w in report.weights if len(w.shape) > 1]
    codebooks = sum(4 * len(np.unique(values)) for values in kernels)
    codes = sum(w.bytes for w in written) - codebooks
    return Size(
        nbytes=report.weight_bytes,
        weight_bits=(8 * codes - index_bits) / kept,
        index_bits=index_bits / kept,
        codes_bytes=codes,
        entropy_bytes=sum(w.entropy_bytes for w in written),
        file_bytes=report.file_bytes,
    )


def zeros_entropy(values):
    """Bits that tell which numbers are zero, each for itself.

    >>> zeros_entropy(np.array([0, 1, 0, 2]))
    4.0
    """
    share = np.count_nonzero(values) / values.size
    if share in (0, 1):
        return 0.0
    both = np.array([share, 1 - share])
    return float(-values.size * (both * np.log2(both)).sum())


def kept_parameters(model):
    """Numbers of a model that are not zero, and all biases."""
    kernels = sum(map(np.count_nonzero, _kernels(model)))
    return int(kernels + sum(values.size for values in _biases(model)))


def columns(model, size):
    """What a row says about sizes."""
    parameters, kept = model.count_params(), kept_parameters(model)
    return {
        "parameters_kept": kept,
        "fraction_kept": round(kept / parameters, 4),
        "weight_bits": round(size.weight_bits, 2),
        "index_bits": round(size.index_bits, 2),
        "bytes": size.nbytes,
        "codes_bytes": size.codes_bytes or "",
        "entropy_bytes": size.entropy_bytes or "",
        "file_bytes": size.file_bytes or "",
        "ratio": round(4 * parameters / size.nbytes, 2),
    }


def with_losses(rows):
    """Rows with the points that were lost, date and versions.

    >>> rows = [{"stage": "baseline", "test_accuracy": 0.905},
    ...         {"stage": "control", "test_accuracy": 0.906},
    ...         {"stage": "pruned", "test_accuracy": 0.904}]
    >>> with_losses(rows)[2]["points_lost"]
    0.1
    """
    accuracies = {row["stage"]: row["test_accuracy"] for row in rows}

    def lost(stage, row):
        return round(100 * (accuracies[stage] - row["test_accuracy"]), 2)

    return [
        {
            **row,
            "points_lost": lost("baseline", row),
            "points_below_control": lost("control", row),
            **made_with(),
        }
        for row in rows
    ]


def record(rows):
    """Puts rows of one network and data set in the place of earlier ones."""
    key = {name: rows[0][name] for name in ("network", "dataset")}
    replace(RESULTS, rows, **key)


# How large a trained stage is before anything is entropy coded, in the order
# of the table, and what the stage is called that codes it.
UNCODED = {
    "baseline": dense_size,
    "control": dense_size,
    "pruned": lambda model: indexed_size(model, shared=False),
    "quantized": lambda model: indexed_size(model, shared=True),
    "uniform": lambda model: indexed_size(model, shared=True),
}
CODED = {"quantized": "coded", "uniform": "uniform_coded"}
DEEP_COMPRESSION = ("baseline", "pruned", "quantized", "coded")
UNIFORM = ("pruned", "uniform", "uniform_coded")


def plot():
    """Points of accuracy gained against how many times smaller."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with RESULTS.open(newline="") as file:
        table = list(csv.DictReader(file))
    figure, axes = plt.subplots(figsize=(8, 6))
    colors = {}
    for key in dict.fromkeys(map(_key, table)):
        rows = {line["stage"]: line for line in table if _key(line) == key}
        color = colors.setdefault(key[0], f"C{len(colors)}")
        name = f"{key[0]} on {key[1]}"
        _draw(axes, rows, DEEP_COMPRESSION, "o-", color, name, 6)
        _draw(axes, rows, UNIFORM, "d:", color, f"{name}, uniform codes", -10)
    for label, (network, marker, *point) in PAPERS.items():
        color = colors.get(network, "gray")
        axes.plot(*point, marker, color=color, fillstyle="none", label=label)
    axes.axhline(-0.3, color="gray", linewidth=0.5)
    axes.set_xscale("log")
    ticks = (1, 2, 5, 10, 20, 40, 60)
    axes.set_xticks(ticks, ticks)
    axes.minorticks_off()
    axes.set_xlim(0.9, 100)
    axes.set_xlabel("times smaller than float32")
    axes.set_ylabel("test accuracy minus the baseline's, points")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    with whole_file(PICTURE) as unfinished:
        figure.savefig(unfinished, dpi=120, bbox_inches="tight")


def _draw(axes, rows, stages, style, color, label, offset):
    ratios = [float(rows[stage]["ratio"]) for stage in stages]
    gains = [-float(rows[stage]["points_lost"]) for stage in stages]
    axes.plot(ratios, gains, style, color=color, label=label)
    for stage, *point in list(zip(stages, ratios, gains))[1:]:
        axes.annotate(
            stage.replace("uniform_coded", "coded"),
            point,
            (0, offset),
            textcoords="offset points",
            ha="left" if stage.endswith("coded") else "right",
            size=7,
        )


def _key(line):
    return line["network"], line["dataset"]


def _kernels(model):
    return [w.numpy() for w in model.weights if len(w.shape) > 1]


def _biases(model):
    return [w.numpy() for w in model.weights if len(w.shape) < 2]
