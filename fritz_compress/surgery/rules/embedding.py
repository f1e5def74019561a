"""Tables of vectors."""

import numpy as np
from keras import layers

from fritz_compress.surgery.call import Call
from fritz_compress.surgery.rules.table import rule
from fritz_compress.surgery.values import Strand, Value


@rule(layers.Embedding)
def embedding(call: Call) -> list[Value]:
    call.only()
    made = call.produce(call.operation.output_dim)
    call.weight("embeddings", makes={1: made})
    call.configure("output_dim", made)
    return [call.output({-1: Strand(made, np.zeros_like(made))})]


@rule(layers.ReversibleEmbedding)
def reversible(call: Call) -> list[Value]:
    """Words to vectors, and vectors to scores of words."""
    layer = call.operation
    if not call.arguments.get("reverse", False):
        (value,) = embedding(call)
    else:
        made = call.produce(layer.output_dim)
        call.tie(made, call.read())
        call.only(-1)
        call.weight("embeddings", makes={1: made})
        call.configure("output_dim", made)
        value = call.output({})
    if not layer.tie_weights:
        made = call.produce(layer.output_dim)
        call.weight("reverse_embeddings", reads={0: made})
    return [value]
