"""Figures about a model. Matplotlib is imported when one is drawn.

Figures are objects: nothing is shown, and `pyplot`, with its global state
and its windows, is left alone.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import keras
import numpy as np

from fritz_compress.graph import is_graph
from fritz_compress.ops.importance import l1_norms
from fritz_compress.surgery.names import name_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fritz_compress.analysis.sensitivity_table import SensitivityTable
    from fritz_compress.analysis.signal_to_noise import SignalToNoiseTable

# The attribute with the filters of each convolution, and the axes that count
# them.
_FILTERS = {
    keras.layers.Conv1D: ("kernel", (-1,)),
    keras.layers.Conv2D: ("kernel", (-1,)),
    keras.layers.Conv3D: ("kernel", (-1,)),
    keras.layers.Conv1DTranspose: ("kernel", (-2,)),
    keras.layers.Conv2DTranspose: ("kernel", (-2,)),
    keras.layers.Conv3DTranspose: ("kernel", (-2,)),
    keras.layers.DepthwiseConv1D: ("kernel", (-2, -1)),
    keras.layers.DepthwiseConv2D: ("kernel", (-2, -1)),
    keras.layers.SeparableConv1D: ("pointwise_kernel", (-1,)),
    keras.layers.SeparableConv2D: ("pointwise_kernel", (-1,)),
}
# Up to so many curves have a name each; more have colours along a scale.
_NAMED = 10
_TICKS = 11
_MARKERS = "osD^vP"
_LONGEST_NAME = 32


def filter_norms(model: keras.Model, axes: "Axes | None" = None) -> "Figure":
    """Draws the L1 norms of the filters of every convolution, sorted.

    One curve per layer, from its largest filter to its smallest, both axes
    relative: the filter's rank in percent of the layer's filters, its norm
    over the layer's largest. A layer whose curve falls to almost nothing has
    filters that do almost nothing; one whose curve is flat needs them all.

    Args:
        model: A Functional or Sequential model; models inside it are looked
            into. Up to 10 convolutions are named in a legend; more are
            coloured by their depth, with a scale that names some of them.
        axes: Matplotlib axes to draw into; `None` makes a figure.

    Returns: the figure; `figure.savefig("norms.png")` writes it.

    Raises:
        ValueError: for a model without convolutions, or weights that are NaN.

    Reference: Li et al., "Pruning Filters for Efficient ConvNets",
    https://arxiv.org/abs/1608.08710, figure 2 (a).
    """
    curves = {}
    for name, norms in _norms(model):
        norms = np.sort(norms)[::-1] / (norms.max() or 1)
        # The curve of a single filter is a line as well.
        norms = np.repeat(norms, 2) if len(norms) == 1 else norms
        curves[name] = (np.linspace(0, 100, len(norms)), norms)
    if not curves:
        raise ValueError(
            f"Model '{model.name}' has no convolution, whose filters could be "
            "compared."
        )
    axes = axes or _new_axes()
    _draw(axes, curves)
    axes.set(
        title=f"Filters of {model.name}",
        xlabel="filters, largest first (% of the layer's)",
        ylabel="L1 norm / largest of the layer",
        xlim=(0, 100),
        ylim=(0, 1.02),
    )
    return axes.figure


def sensitivity(
    table: "SensitivityTable", axes: "Axes | None" = None
) -> "Figure":
    """Draws the metric over the fraction zeroed, a curve for each layer.

    Args:
        table: What `analysis.sensitivity` returned. Up to 10 layers are named
            in a legend; of more, the six that lose most are, and all are
            coloured by their depth.
        axes: Matplotlib axes to draw into; `None` makes a figure.

    Returns: the figure.
    """
    curves = {}
    for layer in table.layers:
        rows = table.of(layer)
        points = [(0.0, table.baseline)]
        points += [(100 * row.reached, row.value) for row in rows]
        curves[layer] = tuple(map(np.array, zip(*points)))
    losses = {
        layer: np.mean([table.loss(row) for row in table.of(layer)])
        for layer in curves
    }
    worst = sorted(losses, key=losses.get, reverse=True)[: len(_MARKERS)]
    axes = axes or _new_axes()
    axes.axhline(
        table.baseline,
        color="0.4",
        linewidth=1,
        linestyle=":",
        label="nothing zeroed",
    )
    _draw(axes, curves, worst, marker=".")
    axes.set(
        title=f"Sensitivity of {table.model}",
        xlabel=f"{table.kind} zeroed in one layer (%)",
        ylabel=table.metric,
        xlim=(0, None),
    )
    return axes.figure


def signal_to_noise(
    table: "SignalToNoiseTable", axes: "Axes | None" = None
) -> "Figure":
    """Draws signal to quantization noise over bits, a curve for each weight.

    Args:
        table: What `analysis.signal_to_noise` returned. Up to 10 weights are
            named in a legend; of more, the six with the most noise are, and
            all are coloured by their depth.
        axes: Matplotlib axes to draw into; `None` makes a figure.

    Returns: the figure.
    """
    curves = {
        weight: tuple(
            np.array([(row.nbits, row.sqnr) for row in table.of(weight)]).T
        )
        for weight in table.weights
    }
    # Of the fewest bits: what has few rows has those.
    worst = sorted(curves, key=lambda weight: curves[weight][1][0])
    axes = axes or _new_axes()
    _draw(axes, curves, worst[: len(_MARKERS)], marker=".")
    axes.set(
        title=f"Noise of codes in the weights of {table.model}",
        xlabel="bits of a code",
        ylabel="signal to quantization noise (dB)",
        xticks=table.nbits,
    )
    return axes.figure


def _norms(model) -> Iterator[tuple[str, np.ndarray]]:
    for layer, name in name_layers(model).items():
        family = next((k for k in type(layer).__mro__ if k in _FILTERS), None)
        if is_graph(layer) or family is None:
            continue
        attribute, filter_axes = _FILTERS[family]
        kernel = keras.ops.convert_to_numpy(getattr(layer, attribute))
        # Depthwise filters are counted by two axes: made one.
        last = range(-len(filter_axes), 0)
        kernel = np.moveaxis(kernel, filter_axes, last)
        filters = int(np.prod(kernel.shape[-len(filter_axes) :]))
        norms = l1_norms(kernel.reshape(-1, filters))
        if not np.isfinite(norms).all():
            raise ValueError(
                f"Weights of layer '{name}' must be numbers, to compare its "
                "filters. Received: NaN or infinity."
            )
        yield name, norms


def _new_axes():
    from matplotlib.figure import Figure

    return Figure(figsize=(9, 5), dpi=150, layout="constrained").subplots()


def _draw(axes, curves, highlighted=(), marker=None):
    """Curves, and what tells which is which."""
    import matplotlib

    names = list(curves)
    if len(names) <= _NAMED:
        colors = matplotlib.colormaps["tab10"].colors
        for (name, curve), color in zip(curves.items(), colors):
            axes.plot(*curve, color=color, label=_short(name), marker=marker)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    else:
        # The brightest yellow of the map is hard to see on white.
        depths = np.linspace(0, 0.92, len(names))
        colors = matplotlib.colormaps["viridis"](depths)
        for (name, curve), color in zip(curves.items(), colors):
            axes.plot(*curve, color=color, linewidth=1, alpha=0.8)
        _add_scale(axes, names, colors)
        _highlight(axes, curves, dict(zip(names, colors)), highlighted)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _highlight(axes, curves, colors, names):
    """Some curves again, thicker, with markers and a legend."""
    lines = []
    for name, marker in zip(names, _MARKERS):
        lines += axes.plot(
            *curves[name],
            color=colors[name],
            marker=marker,
            markersize=5,
            linewidth=2,
            label=_short(name),
        )
    if names:
        # Below the axes: within them it would hide curves.
        axes.legend(
            handles=lines,
            title="lose most",
            fontsize="small",
            loc="upper center",
            bbox_to_anchor=(0.5, -0.13),
            ncols=2,
            frameon=False,
        )


def _add_scale(axes, names, colors):
    """A bar of the colours, from the first layer to the last, some named."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    edges = np.arange(len(names) + 1) - 0.5
    mapping = ScalarMappable(
        BoundaryNorm(edges, len(names)), ListedColormap(colors)
    )
    bar = axes.figure.colorbar(mapping, ax=axes, pad=0.02, aspect=40)
    ticks = np.linspace(0, len(names) - 1, _TICKS).round().astype(int)
    bar.set_ticks(ticks, labels=[_short(names[tick]) for tick in ticks])
    bar.minorticks_off()
    bar.ax.tick_params(labelsize="small", length=0)
    bar.ax.invert_yaxis()
    bar.outline.set_visible(False)


def _short(name):
    """The end of a name tells more than its beginning."""
    if len(name) <= _LONGEST_NAME:
        return name
    return "…" + name[-_LONGEST_NAME + 1 :]
