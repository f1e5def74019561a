"""Figures: what they show is read from their curves."""

import keras
import numpy as np
import pytest
from helpers import distinct_weights
from keras import layers
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fritz_compress.analysis import (
    SensitivityRow,
    SensitivityTable,
    SignalToNoiseRow,
    SignalToNoiseTable,
    plots,
)


def convolutions(count, name="net"):
    """A model of so many convolutions, half of them in a nested model."""
    inner = keras.Sequential(
        [keras.Input((8, 8, 4))]
        + [
            layers.Conv2D(4, 1, name=f"inner_{n}")
            for n in range(count - count // 2)
        ],
        name="inner",
    )
    outer = [layers.Conv2D(4, 1, name=f"outer_{n}") for n in range(count // 2)]
    model = keras.Sequential([keras.Input((8, 8, 4)), *outer, inner], name=name)
    return distinct_weights(model)


def curves(figure):
    """The curves by their label, each as x and y."""
    return {
        line.get_label(): np.array(line.get_data())
        for line in figure.axes[0].get_lines()
    }


def test_norms_are_sorted_and_relative_counted_by_hand():
    model = keras.Sequential(
        [
            keras.Input((4, 2)),
            layers.Conv1D(4, 1, use_bias=False, name="convolution"),
            layers.Conv1DTranspose(3, 1, use_bias=False, name="transposed"),
            layers.DepthwiseConv1D(1, 1, use_bias=False, name="depthwise"),
            layers.SeparableConv1D(2, 1, use_bias=False, name="separable"),
            layers.Conv1D(1, 1, name="single"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    model.layers[0].set_weights([np.array([[[1, -8, 2, 0], [1, 0, -4, 3]]])])
    model.layers[1].set_weights(
        [np.array([[[1, 1, 1, 1], [0, 0, -1, 0], [2, 0, 0, 0]]])]
    )
    model.layers[2].set_weights([np.array([[[5.0], [-4.0], [10.0]]])])
    model.layers[3].set_weights(
        [np.ones((1, 3, 1)), np.array([[[1, 2], [1, 2], [0, -4]]])]
    )
    figure = plots.filter_norms(model)
    expected = {
        "convolution": [1, 6 / 8, 3 / 8, 2 / 8],
        "transposed": [1, 2 / 4, 1 / 4],
        "depthwise": [1, 5 / 10, 4 / 10],
        "separable": [1, 2 / 8],
        "single": [1, 1],
    }
    found = curves(figure)
    assert list(found) == list(expected)
    for name, heights in expected.items():
        x, y = found[name]
        np.testing.assert_allclose(x, np.linspace(0, 100, len(heights)))
        np.testing.assert_allclose(y, heights, rtol=1e-6)


def test_a_layer_of_zeros_lies_at_zero():
    model = convolutions(2)
    for layer in model.layers[:1]:
        layer.set_weights([0 * weight for weight in layer.get_weights()])
    np.testing.assert_array_equal(
        curves(plots.filter_norms(model))["outer_0"][1], 0
    )


def test_few_layers_have_names_and_many_have_a_scale(tmp_path):
    few = plots.filter_norms(convolutions(5))
    assert len(few.axes) == 1
    texts = [text.get_text() for text in few.axes[0].get_legend().get_texts()]
    assert texts == ["outer_0", "outer_1", "inner_0", "inner_1", "inner_2"]
    many = plots.filter_norms(convolutions(50))
    axes, scale = many.axes
    assert len(axes.get_lines()) == 50 and axes.get_legend() is None
    many.savefig(tmp_path / "many.png")
    ticks = [text.get_text() for text in scale.get_yticklabels()]
    assert len(ticks) == 11
    assert (ticks[0], ticks[-1]) == ("outer_0", "inner_24")
    # The first layer is at the top, in the colour of its curve.
    bottom, top = scale.get_ylim()
    assert top < bottom
    colors = {tuple(line.get_color()) for line in axes.get_lines()}
    assert len(colors) == 50


def test_figures_are_drawn_into_axes_given():
    figure = Figure()
    axes = figure.subplots(1, 2)
    assert plots.filter_norms(convolutions(3), axes[0]) is figure
    assert plots.sensitivity(table(3), axes[1]) is figure
    assert axes[0].get_title() == "Filters of net"
    assert axes[1].get_title() == "Sensitivity of net"


def table(count, mode="max"):
    """Layer n loses n hundredths at a half, and all at nine tenths."""
    sign = 1 if mode == "max" else -1
    return SensitivityTable(
        *("net", "filters", "l1", "accuracy", mode, sign * 0.9),
        rows=tuple(
            SensitivityRow(f"layer_{n}", fraction, fraction - 0.1, sign * value)
            for n in range(count)
            for fraction, value in [(0.5, 0.9 - n / 100), (0.9, 0.1)]
        ),
    )


def test_sensitivity_curves_begin_at_the_baseline():
    figure = table(2).plot()
    found = curves(figure)
    np.testing.assert_allclose(
        found["layer_1"], [[0, 40, 80], [0.9, 0.89, 0.1]]
    )
    np.testing.assert_allclose(found["nothing zeroed"][1], [0.9, 0.9])
    legend = figure.axes[0].get_legend().get_texts()
    assert [text.get_text() for text in legend] == [
        "nothing zeroed",
        "layer_0",
        "layer_1",
    ]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_of_many_layers_those_that_lose_most_are_named(mode, tmp_path):
    figure = table(30, mode).plot()
    figure.savefig(tmp_path / "many.png")
    legend = figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        f"layer_{n}" for n in (29, 28, 27, 26, 25, 24)
    ]
    # It hides no curve: it ends below the axes.
    renderer = FigureCanvasAgg(figure).get_renderer()
    box = legend.get_window_extent(renderer)
    assert 0 <= box.y0 < box.y1 < figure.axes[0].get_window_extent(renderer).y0
    assert len(figure.axes) == 2


def noise_table(count):
    """Weight n has n decibels less than the first."""
    return SignalToNoiseTable(
        "net",
        rows=tuple(
            SignalToNoiseRow(f"layer_{n}/kernel", nbits, 6.0 * nbits - n, 9, 1)
            for n in range(count)
            for nbits in (2, 4, 8)
        ),
        bytes_before=9 * count,
        bytes={2: 1, 4: 2, 8: 4},
    )


def test_noise_is_drawn_over_bits(tmp_path):
    figure = noise_table(2).plot()
    found = curves(figure)
    np.testing.assert_allclose(
        found["layer_1/kernel"], [[2, 4, 8], [11, 23, 47]]
    )
    assert figure.axes[0].get_xticks().tolist() == [2, 4, 8]
    many = noise_table(30).plot()
    many.savefig(tmp_path / "many.png")
    legend = many.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        f"layer_{n}/kernel" for n in (29, 28, 27, 26, 25, 24)
    ]


def test_weights_without_noise_are_left_out_of_the_picture(tmp_path):
    row = SignalToNoiseRow("still/kernel", 2, np.inf, 9, 1)
    whole = noise_table(1)
    table = SignalToNoiseTable("net", (*whole.rows, row), 18, whole.bytes)
    figure = table.plot()
    figure.savefig(tmp_path / "still.png")
    assert np.isfinite(figure.axes[0].get_ylim()).all()


def test_long_names_keep_their_end():
    model = keras.Sequential(
        [keras.Input((4, 4, 2)), layers.Conv2D(2, 1, name="a" * 50 + "_end")]
    )
    (text,) = plots.filter_norms(model).axes[0].get_legend().get_texts()
    assert text.get_text() == "…" + "a" * 27 + "_end"


def test_bad_input_is_refused():
    dense = keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="flat")
    with pytest.raises(ValueError, match="'flat' has no convolution"):
        plots.filter_norms(dense)
    model = convolutions(2)
    kernel, bias = model.get_layer("outer_0").get_weights()
    model.get_layer("outer_0").set_weights([kernel * np.nan, bias])
    with pytest.raises(ValueError, match="layer 'outer_0' must be numbers"):
        plots.filter_norms(model)


def test_no_figure_is_left_in_pyplot():
    from matplotlib import pyplot

    plots.filter_norms(convolutions(2))
    table(2).plot()
    assert pyplot.get_fignums() == []
