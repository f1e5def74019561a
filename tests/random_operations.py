"""Operations on one or several tensors, as code, for random graphs.

A maker takes the graph so far and the name of one of its tensors; it returns
code, or `None` where no such operation fits.
"""

from collections.abc import Callable

from random_layers import CHANNELS, divisors, random_layer

OPERATIONS: dict[str, dict[str, Callable]] = {
    "elementwise": {},
    "movement": {},
    "merges": {},
    "products": {},
    "reductions": {},
    "attention": {},
}
MERGES = "Add Subtract Multiply Average Maximum Minimum".split()


def enter(kind: str, *ranks: int):
    """Enters a maker, for shapes of these lengths, without the batch."""

    def decorate(make):
        def checked(graph, x):
            fits = len(graph.shape(x)) in (ranks or (1, 2, 3, 4))
            return make(graph, x) if fits else None

        OPERATIONS[kind][make.__name__] = checked
        return make

    return decorate


@enter("elementwise")
def arithmetic(graph, x):
    size = graph.shape(x)[-1]
    return graph.rng.choice(
        [
            f"2 * {x}",
            f"{x} + 0.5",
            f"1 - {x}",
            f"{x} / 1.5",
            f"-{x}",
            f"{x} * steps({size})",
            f"{x} + steps({size})",
            f"ops.subtract(steps({size}), {x})",
            f"{x} / steps({size})",
            f"ops.add({x}, steps({', '.join(map(str, graph.shape(x)))}))",
            f"ops.multiply({x}, {graph.rng.choice(['steps(1)', '0.7'])})",
        ]
    )


@enter("elementwise")
def function(graph, x):
    names = "abs sin cos arctan erf negative relu tanh gelu silu elu".split()
    return graph.rng.choice(
        [f"ops.{name}({x})" for name in names]
        + [
            f"ops.exp(ops.tanh({x}))",
            f"ops.square(ops.tanh({x}))",
            f"ops.sqrt(ops.softplus({x}))",
            f"ops.log1p(ops.abs({x}))",
            f"ops.leaky_relu({x}, 0.3)",
            f"ops.clip({x}, -1.0, 2.0)",
            f"ops.where({x} > 0, {x}, 0.3 * {x})",
            f"ops.softmax({x}, axis={graph.rng.choice([-1, 1])})",
            f"ops.power(1.5, ops.tanh({x}))",
        ]
    )


@enter("movement")
def piece(graph, x):
    """Positive, negative, strided and reversed slices, and single places."""
    shape = graph.shape(x)
    items = [":"] * (len(shape) + 1)
    axis = graph.rng.randint(1, len(shape))
    size = shape[axis - 1]
    choices = ["::-1", ":"]
    if size > 2:
        choices += ["1:", ":-1", "::2", "1::2", f"-{size // 2 + 1}:", "-1:0:-1"]
        choices += ["-2::-2", f"{size // 2}:", "None:None:-2"]
    if len(shape) > 1:
        choices += ["-1", "0", f"{size // 2}"]
    items[axis] = graph.rng.choice(choices)
    if axis == len(shape) and graph.rng.random() < 0.5:
        return f"{x}[..., {items[axis]}]"
    if graph.rng.random() < 0.1 and len(shape) < 4:
        items.insert(axis, "None")
    return f"{x}[{', '.join(items)}]"


@enter("movement")
def split(graph, x):
    shape = graph.shape(x)
    axis = graph.rng.randint(1, len(shape))
    size = shape[axis - 1]
    if size < 2:
        return None
    count = graph.rng.choice(divisors(size))
    code = f"ops.split({x}, {count}, axis={axis})"
    if size > 3 and graph.rng.random() < 0.4:
        bounds = sorted({size // 3, graph.rng.randint(2, size - 1)})
        code, count = f"ops.split({x}, {bounds}, axis={axis})", len(bounds) + 1
    made = graph.assign(code, count)
    names = ", ".join(graph.rng.sample(made, count))
    return f"ops.concatenate([{names}], axis={axis})"


@enter("movement")
def rearranged(graph, x):
    shape = graph.shape(x)
    rank = len(shape)
    axes = list(range(1, rank + 1))
    graph.rng.shuffle(axes)
    one, two = graph.rng.randint(1, rank), graph.rng.randint(1, rank)
    choices = [
        f"ops.transpose({x}, {(0, *axes)})",
        f"ops.swapaxes({x}, {one}, {two})",
        f"ops.moveaxis({x}, {one}, {two})",
        f"ops.flip({x}, axis={one})",
    ]
    if shape[one - 1] < 5:
        choices.append(f"ops.repeat({x}, 2, axis={one})")
    if rank < 4:
        choices.append(f"ops.expand_dims({x}, {graph.rng.randint(1, rank)})")
    if 1 in shape and rank > 1:
        choices.append(f"ops.squeeze({x}, {shape.index(1) + 1})")
    return graph.rng.choice(choices)


@enter("movement")
def padded(graph, x):
    widths = [(0, 0)] * (len(graph.shape(x)) + 1)
    axis = graph.rng.randint(1, len(graph.shape(x)))
    widths[axis] = (graph.rng.choice([1, 0]), graph.rng.choice([1, 2]))
    mode = graph.rng.choice(["constant", "constant", "reflect"])
    if mode == "reflect" and graph.shape(x)[axis - 1] < 4:
        mode = "constant"
    return f"ops.pad({x}, {widths}, mode='{mode}')"


@enter("movement", 1, 2, 3)
def stacked(graph, x):
    axis = graph.rng.choice([-1, *range(1, len(graph.shape(x)) + 1)])
    return f"ops.stack([{x}, {graph.like(x)}], axis={axis})"


@enter("movement")
def shuffled(graph, x):
    """ShuffleNet's shuffle of channels."""
    *rest, size = graph.shape(x)
    groups = divisors(size)[:-1]
    if not groups:
        return None
    parts = graph.rng.choice(groups)
    split = (-1, *rest, parts, size // parts)
    (y,) = graph.assign(f"ops.reshape({x}, {split})")
    (y,) = graph.assign(f"ops.swapaxes({y}, -1, -2)")
    return f"ops.reshape({y}, {(-1, *rest, size)})"


@enter("merges")
def merged(graph, x):
    kind, y = graph.rng.choice(MERGES), graph.like(x)
    return f"layers.{kind}()([{x}, {y}])"


@enter("merges")
def merged_raw(graph, x):
    y = graph.like(x) if graph.rng.random() < 0.6 else _smaller(graph, x)
    pair = graph.rng.sample([x, y], 2)
    code = graph.rng.choice(
        ["{} + {}", "{} * {}", "{} - {}", "ops.maximum({}, {})"]
        + ["ops.minimum({}, {})", "{} / (1.5 + ops.tanh({}))"]
    )
    return code.format(*pair)


def _smaller(graph, x):
    """What can be added to x by broadcasting."""
    choices, rank = [f"layers.Dense(1)({x})"], len(graph.shape(x))
    if rank > 1:
        axis = graph.rng.randint(1, rank)
        choices.append(f"ops.mean({x}, axis={axis}, keepdims=True)")
    (y,) = graph.assign(graph.rng.choice(choices))
    return y


@enter("merges")
def gated(graph, x):
    """Squeeze and excite, or one weight for all channels."""
    size = graph.rng.choice([graph.shape(x)[-1], 1])
    y = x
    if len(graph.shape(x)) > 1:
        (y,) = graph.assign(f"ops.mean({x}, axis=1, keepdims=True)")
    (y,) = graph.assign(f"layers.Dense({graph.rng.choice(CHANNELS)})({y})")
    (y,) = graph.assign(f"layers.Dense({size}, activation='sigmoid')({y})")
    return f"layers.Multiply()([{x}, {y}])"


@enter("merges")
def residual(graph, x):
    """Layers beside a shortcut."""
    layer = random_layer(graph.rng, graph.shape(x), ["kernels", "elementwise"])
    (y,) = graph.assign(f"{layer}({x})")
    if graph.shape(y)[:-1] != graph.shape(x)[:-1]:
        return None
    if graph.shape(y) != graph.shape(x):
        (y,) = graph.assign(f"layers.Dense({graph.shape(x)[-1]})({y})")
    return f"layers.Add()([{x}, {y}])"


@enter("merges")
def concatenated(graph, x):
    axis = graph.rng.choice([-1, -1, *range(1, len(graph.shape(x)))])
    others = [graph.like(x, but=axis) for _ in range(graph.rng.choice([1, 2]))]
    names = ", ".join(graph.rng.sample([x, *others], len(others) + 1))
    if graph.rng.random() < 0.3:
        return f"ops.concatenate([{names}], axis={axis})"
    return f"layers.Concatenate(axis={axis})([{names}])"


@enter("products")
def matrix(graph, x):
    *_, size = graph.shape(x)
    if len(graph.shape(x)) > 1 and graph.rng.random() < 0.3:
        rows = graph.shape(x)[-2]
        return f"ops.matmul(steps({graph.rng.choice(CHANNELS)}, {rows}), {x})"
    return f"ops.matmul({x}, steps({size}, {graph.rng.choice(CHANNELS)}))"


@enter("products", 2)
def einsum_constant(graph, x):
    rows, size = graph.shape(x)
    return graph.rng.choice(
        [
            f"ops.einsum('abc,cd->abd', {x}, steps({size}, 4))",
            f"ops.einsum('abc,c->ab', {x}, steps({size}))",
            f"ops.einsum('abc,c->abc', {x}, steps({size}))",
            f"ops.einsum('abc,bd->adc', {x}, steps({rows}, 4))",
            f"ops.einsum('abc->acb', {x})",
        ]
    )


@enter("products", 2)
def two_tensors(graph, x):
    """Scores of queries and keys, and values weighed by them."""
    key, value = graph.like(x, but=1), graph.like(x)
    dot = f"layers.Dot(axes=(2, 2))([{x}, {key}])"
    scores = graph.rng.choice(
        [
            f"ops.matmul({x}, ops.swapaxes({key}, 1, 2))",
            f"ops.einsum('btc,bsc->bts', {x}, {key})",
            dot,
        ]
    )
    if graph.rng.random() < 0.4:
        return f"ops.tanh({scores})"
    value = key if graph.shape(key)[0] != graph.shape(value)[0] else value
    (y,) = graph.assign(f"ops.softmax({scores})")
    return graph.rng.choice(
        [
            f"ops.matmul({y}, {value})",
            f"ops.einsum('bts,bsc->btc', {y}, {value})",
        ]
    )


@enter("products", 3)
def heads_multiplied(graph, x):
    y = graph.like(x)
    return graph.rng.choice(
        [
            f"ops.einsum('bthd,bshd->bhts', {x}, {y})",
            f"ops.einsum('bthd,bthd->bth', {x}, {y})",
            f"ops.matmul({x}, ops.swapaxes({y}, -1, -2))",
        ]
    )


@enter("reductions", 2, 3, 4)
def reduced(graph, x):
    rank = len(graph.shape(x))
    name = graph.rng.choice("mean sum max min sum mean".split())
    axes = [*range(1, rank + 1), -1]
    axis = graph.rng.choice(axes + ([(1, 2)] if rank > 2 else []))
    code = f"ops.{name}({x}, axis={axis}, "
    return code + f"keepdims={graph.rng.choice([False, True])})"


@enter("attention", 2)
def multi_head_attention(graph, x):
    rng = graph.rng
    value = rng.choice([x, graph.of_rank(2, x)])
    sizes = f"{rng.choice([2, 3, 4])}, {rng.choice([4, 3, 6])}"
    extra = rng.choice(["", ", value_dim=5", ", use_bias=False"])
    extra += rng.choice(["", "", ", output_shape=6"])
    layer = f"layers.MultiHeadAttention({sizes}{extra})"
    # Keras declares a wrong shape for scores between sequences of two lengths.
    if rng.random() < 0.15 and graph.shape(x)[0] == graph.shape(value)[0]:
        graph.assign(f"{layer}({x}, {value}, return_attention_scores=True)", 2)
        return None
    key = f", key={graph.like(value)}" if rng.random() < 0.2 else ""
    causal = ", use_causal_mask=True" if rng.random() < 0.2 else ""
    return f"{layer}({x}, {value}{key}{causal})"


@enter("attention", 2)
def group_query_attention(graph, x):
    rng = graph.rng
    value = rng.choice([x, graph.like(x, but=1)])  # As wide as the query.
    shared = rng.choice([2, 1, 3])
    sizes = f"{rng.choice([4, 3])}, {shared * rng.choice([2, 1, 3])}, {shared}"
    extra = rng.choice(["", ", use_gate=True", ", use_bias=False"])
    return f"layers.GroupQueryAttention({sizes}{extra})({x}, {value})"


@enter("attention", 2)
def attention_without_weights(graph, x):
    extra = graph.rng.choice(["", "use_scale=True"])
    names = f"{x}, {graph.like(x, but=1)}"
    return f"layers.Attention({extra})([{names}])"


@enter("attention", 2)
def states(graph, x):
    """A recurrent layer that starts from the states of another."""
    kind = graph.rng.choice(["GRU", "LSTM", "SimpleRNN"])
    units = graph.rng.choice(CHANNELS)
    first = f"layers.{kind}({units}, return_state=True)({x})"
    _, *found = graph.assign(first, 3 if kind == "LSTM" else 2)
    if graph.rng.random() < 0.3:
        return found[-1]
    return (
        f"layers.{kind}({units}, return_sequences=True)"
        f"({x}, initial_state=[{', '.join(found)}])"
    )
