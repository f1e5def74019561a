"""Recurrent layers: their units read each other."""

import numpy as np
from keras import layers, tree

from fritz_compress.graph import Tensor
from fritz_compress.surgery.call import Call
from fritz_compress.surgery.flow import Whole
from fritz_compress.surgery.rules.activations import is_elementwise, keeps_zero
from fritz_compress.surgery.rules.table import rule
from fritz_compress.surgery.values import Strand, Value

_GATES = {layers.LSTM: 4, layers.GRU: 3, layers.SimpleRNN: 1}


@rule(*_GATES)
def recurrent(call: Call) -> list[Value]:
    layer = call.operation
    if layer.stateful:
        raise Whole("keeps its state from batch to batch")
    call.only(-1)
    units = call.produce(layer.units)
    gated = np.tile(units, _GATES[type(layer)])
    call.weight("cell.kernel", reads={0: call.read()}, makes={1: gated})
    call.weight("cell.recurrent_kernel", reads={0: units}, makes={1: gated})
    call.weight("cell.bias", makes={-1: gated})
    call.configure("units", units)
    call.flow.readers.append((call.node.operation, units))
    strand = Strand(units, _revived(call, units))
    return [call.output({-1: strand}, i) for i in range(len(call.node.outputs))]


def _revived(call, units):
    """A unit of zeros stays at zero if it starts there."""
    states = tree.flatten(call.arguments.get("initial_state"))
    states = [state for state in states if state is not None]
    if not all(isinstance(state, Tensor) for state in states):
        raise Whole("starts from constants")
    revived = np.zeros_like(units)
    for state in states:
        strand = call.strand(-1, state)
        call.tie(units, strand.labels)
        revived = np.maximum(revived, strand.revived)
    layer = call.operation
    gates = [layer.activation, getattr(layer, "recurrent_activation", None)]
    for function in gates:
        if function is not None and not is_elementwise(function):
            call.freeze(units, "has an activation that may mix them")
    # The gates only scale what the activation makes of zero.
    if not keeps_zero(layer.activation):
        revived = np.full_like(revived, call.number)
    return revived
