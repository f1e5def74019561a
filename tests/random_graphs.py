"""Random Keras models, written as code.

>>> code = random_graph(random.Random(7))
>>> model = build(code)

The code defines `model`; a failure shows it and it runs as it is, given the
names of `NAMESPACE`.
"""

import contextlib
import random
import re

import keras
import numpy as np
from helpers import distinct_weights
from keras import layers, ops
from random_layers import CHANNELS, random_layer
from random_operations import OPERATIONS

from fritz_compress.graph import flatten_layers
from fritz_compress.layers import InstanceNormalization

LARGE = 400  # Numbers in a tensor beyond which it only shrinks.
DEPTH = 2  # Models in models in the model.
INPUTS = ("5, 5, 3", "6, 4", "5,", "4, 6, 2", "3, 3, 3, 2", "5, 3")
LAYER_KINDS = (
    "kernels kernels kernels kernels normalizations normalizations elementwise "
    "elementwise spatial movement movement recurrent"
).split()
OPERATION_KINDS = (
    "merges merges merges movement movement elementwise products reductions "
    "attention"
).split()


def steps(*shape):
    """Constants, all different, none near zero, that sum up to little."""
    values = np.sin(np.arange(1, 1 + np.prod(shape)))
    values = np.where(np.abs(values) < 0.2, values + 0.5, values)
    fan_in = shape[0] if len(shape) > 1 else 1
    return (values.reshape(shape) / np.sqrt(fan_in)).astype("float32")


NAMESPACE = {
    "keras": keras,
    "layers": layers,
    "ops": ops,
    "steps": steps,
    "InstanceNormalization": InstanceNormalization,
}


class Graph:
    """A model in the making.

    Attributes:
        rng: Where choices come from.
        lines: The code so far.
        names: What the code has defined.
        tensors: Names of the tensors of the model that is being written.
    """

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.lines: list[str] = []
        self.names = dict(NAMESPACE)
        self.tensors: list[str] = []
        self._used: set[str] = set()
        self._count = 0

    @property
    def ends(self) -> list[str]:
        """Tensors that nothing reads yet."""
        return [name for name in self.tensors if name not in self._used]

    def shape(self, name: str) -> tuple[int, ...]:
        """Without the batch."""
        return tuple(self.names[name].shape[1:])

    def define(self, name: str, code: str) -> str:
        """Runs a line that makes something else than a tensor."""
        line = f"{name} = {code}"
        exec(line, self.names)
        self.lines.append(line)
        self._used.update(re.findall(r"\w+", code))
        return name

    def fresh(self, prefix: str) -> str:
        """A name that is not taken."""
        self._count += 1
        return f"{prefix}{self._count}"

    def assign(self, code: str, count: int = 1) -> list[str]:
        """Runs a line that makes tensors, and returns their names."""
        made = [self.fresh("x") for _ in range(count)]
        self.define(", ".join(made), code)
        self.tensors.extend(made)
        return made

    def like(self, x: str, but: int | None = None) -> str:
        """A tensor of x's shape, found or made.

        Args:
            but: An axis that may differ, counted with the batch.
        """
        shape = self.shape(x)
        free = {but % (len(shape) + 1) - 1} if but else set()
        alike = [y for y in self.tensors if y != x and self._alike(x, y, free)]
        if alike and self.rng.random() < 0.7:
            return self.rng.choice(alike)
        units = self.rng.choice(CHANNELS) if but == -1 else shape[-1]
        (y,) = self.assign(f"layers.Dense({units})({x})")
        return y

    def of_rank(self, rank: int, x: str) -> str:
        """Some tensor of a rank without the batch, or else x."""
        found = [y for y in self.tensors if len(self.shape(y)) == rank]
        return self.rng.choice([x, *found])

    @contextlib.contextmanager
    def inside(self):
        """Tensors made inside belong to a nested model."""
        outside, self.tensors = self.tensors, []
        yield
        self.tensors = outside

    def _alike(self, x, y, free):
        one, two = self.shape(x), self.shape(y)
        return len(one) == len(two) and all(
            a == b or axis in free for axis, (a, b) in enumerate(zip(one, two))
        )


def random_graph(rng: random.Random, size: int = 8) -> str:
    """Code of a model of two to `size` steps and the heads behind them."""
    keras.utils.clear_session(free_memory=False)
    graph = Graph(rng)
    inputs = [_input(graph) for _ in range(rng.choice([1, 1, 1, 2]))]
    for _ in range(rng.randint(2, size)):
        _step(graph)
    outputs = [_head(graph, x) for x in graph.ends]
    listed = ", ".join(inputs), ", ".join(outputs)
    graph.define("model", "keras.Model([{}], [{}])".format(*listed))
    return "\n".join(graph.lines)


def build(code: str) -> keras.Model:
    """The model that code defines, with distinct weights."""
    keras.utils.clear_session(free_memory=False)
    names = dict(NAMESPACE)
    exec(code, names)
    model = distinct_weights(names["model"])
    for layer in flatten_layers(model):
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()  # It computes with copies of its weights.
    return model


def _input(graph):
    """An input, and a first layer with kernels."""
    name = graph.fresh("i")
    if graph.rng.random() > 0.9:
        graph.define(name, "keras.Input((5,), dtype='int32')")
        layer = f"layers.Embedding(7, {graph.rng.choice(CHANNELS)})"
    else:
        graph.define(name, f"keras.Input(({graph.rng.choice(INPUTS)}))")
        layer = random_layer(graph.rng, graph.shape(name), ["kernels"])
    graph.assign(f"{layer}({name})")
    return name


def _step(graph, depth=0):
    """One more layer, operation or nested model."""
    rng = graph.rng
    x = rng.choice(graph.ends or graph.tensors)
    if rng.random() > 0.8:
        x = rng.choice(graph.tensors)
    how = rng.random()
    if np.prod(graph.shape(x)) > LARGE:
        many = len(graph.shape(x)) > 1
        graph.assign(f"ops.mean({x}, axis=1)" if many else f"{x}[:, :12]")
    elif how < 0.55:
        graph.assign(f"{_any_layer(graph, x)}({x})")
    elif how < 0.9 or depth == DEPTH:
        _operate(graph, x)
    elif how < 0.93:
        _call(graph, x, graph.define(graph.fresh("l"), _any_layer(graph, x)))
    elif how < 0.96:
        _call(graph, x, _sequential(graph, x))
    else:
        _call(graph, x, *_functional(graph, x, depth))


def _any_layer(graph, x):
    return random_layer(graph.rng, graph.shape(x), LAYER_KINDS)


def _operate(graph, x):
    table = OPERATIONS[graph.rng.choice(OPERATION_KINDS)]
    code = graph.rng.choice(list(table.values()))(graph, x)
    if code is not None:
        graph.assign(code)


def _call(graph, x, name, outputs=1):
    """Calls a layer or model once or, to share it, twice."""
    graph.assign(f"{name}({x})", outputs)
    if graph.rng.random() < 0.5:
        graph.assign(f"{name}({graph.like(x)})", outputs)


def _sequential(graph, x):
    shape, parts = graph.shape(x), []
    listed = ", ".join(map(str, shape))
    for _ in range(graph.rng.randint(1, 3)):
        if np.prod(shape) <= LARGE:
            code = random_layer(graph.rng, shape, LAYER_KINDS)
            parts.append(code)
            layer = eval(code, dict(NAMESPACE))
            shape = tuple(layer(keras.Input(shape)).shape[1:])
    parts = ", ".join([f"keras.Input(({listed},))", *parts])
    return graph.define(graph.fresh("m"), f"keras.Sequential([{parts}])")


def _functional(graph, x, depth):
    """Name of a nested model, and its number of outputs."""
    listed = ", ".join(map(str, graph.shape(x)))
    name = graph.define(graph.fresh("i"), f"keras.Input(({listed},))")
    with graph.inside():
        graph.tensors.append(name)
        for _ in range(graph.rng.randint(1, 4)):
            _step(graph, depth + 1)
        outputs = graph.ends[-graph.rng.choice([1, 1, 2]) :]
    made = ", ".join(outputs)
    made = f"[{made}]" if len(outputs) > 1 else made
    model = graph.define(graph.fresh("m"), f"keras.Model({name}, {made})")
    return model, len(outputs)


def _head(graph, x):
    """A layer that reads all that is left, so that it need not stay."""
    rng, rank = graph.rng, len(graph.shape(x))
    how = rng.random()
    if how > 0.95:
        return x
    if rank > 1 and how < 0.4:
        (x,) = graph.assign(f"layers.Flatten()({x})")
    elif 1 < rank < 5 and how < 0.8:
        kind = rng.choice(["Average", "Max"])
        (x,) = graph.assign(f"layers.Global{kind}Pooling{rank - 1}D()({x})")
    (x,) = graph.assign(f"layers.Dense({rng.choice([2, 3])})({x})")
    return x
