"""Recurrent layers and their cells, and layers around other layers."""

import math

from keras import layers

from fritz_compress.costs.activations import activated
from fritz_compress.costs.table import FREE, Call, Cost, rule


@rule(layers.SimpleRNNCell)
def simple_cell(call: Call) -> Cost:
    return _cell(call, gates=1, products=0, activations=1)


@rule(layers.GRUCell)
def gru_cell(call: Call) -> Cost:
    """The reset gate times the state, and the update gate mixes two states."""
    return _cell(call, gates=3, products=3, activations=1, gating=2)


@rule(layers.LSTMCell)
def lstm_cell(call: Call) -> Cost:
    """Forget times carry, input times candidate, output times carry."""
    return _cell(call, gates=4, products=3, activations=2, gating=3)


@rule(layers.StackedRNNCells)
def stacked(call: Call) -> Cost:
    """One cell after the other, each on what the one before it makes."""
    cost, shape = FREE, call.shape
    for cell in call.operation.cells:
        cost += call.inside(cell, shape)
        shape = (shape[0], _output_size(cell))
    return cost


@rule(layers.RNN)
def recurrent(call: Call) -> Cost:
    """The cell at every step."""
    batch, steps, *features = call.shape
    return call.inside(call.operation.cell, (batch, *features)) * steps


@rule(layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)
def convolutional(call: Call) -> Cost:
    """An LSTM whose products with both kernels are convolutions."""
    cell = call.operation.cell
    batch, steps, *features = call.shape
    state, _ = cell.compute_output_shape((batch, *features))
    numbers = math.prod(state)
    kernels = (cell.kernel.shape, cell.recurrent_kernel.shape)
    products = sum(math.prod(kernel[:-1]) for kernel in kernels)
    cost = Cost(4 * numbers * products, 3 * numbers)
    return (cost + _activated(call, cell, numbers, 2, 3)) * steps


@rule(layers.Bidirectional)
def bidirectional(call: Call) -> Cost:
    """Both directions; `merge_mode` "mul" and "ave" take a product each."""
    layer = call.operation
    merged = layer.merge_mode in ("mul", "ave")
    cost = Cost(others=call.outputs * merged)
    for direction in (layer.forward_layer, layer.backward_layer):
        cost += call.inside(direction, call.shape)
    return cost


@rule(layers.TimeDistributed)
def time_distributed(call: Call) -> Cost:
    """The layer, or the model, at every step."""
    batch, steps, *features = call.shape
    made = (batch, *call.output_shape[2:])
    inner = call.inside(call.operation.layer, (batch, *features), made)
    return inner * steps


@rule(layers.SpectralNormalization)
def spectral(call: Call) -> Cost:
    """At inference the layer alone: its kernel is normalized already."""
    return call.inside(call.operation.layer, call.shape, call.output_shape)


def _cell(call, gates, products, activations, gating=0):
    cell = call.operation
    batch, features = call.shape
    numbers = batch * cell.units
    cost = Cost(gates * numbers * (features + cell.units), products * numbers)
    return cost + _activated(call, cell, numbers, activations, gating)


def _activated(call, cell, numbers, activations, gating):
    cost = activated(call, cell.activation, activations * numbers)
    if gating:
        function = cell.recurrent_activation
        cost += activated(call, function, gating * numbers)
    return cost


def _output_size(cell):
    size = getattr(cell, "output_size", None) or cell.state_size
    return size if isinstance(size, int) else size[0]
