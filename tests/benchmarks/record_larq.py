"""What larq's quantizers make of a few arrays, recorded.

    python -m venv larq
    larq/bin/pip install "larq==0.14.*" "tensorflow==2.15.*"
    larq/bin/python tests/benchmarks/record_larq.py

larq wants numpy below 2 and Keras 2, so it has an environment of its own.
Writes `tests/quantizers/larq.npz`: of each array `NAME/inputs`; the gradient
that comes from above, `NAME/upstream`; and a row for each of the `quantizers`
in `NAME/values` and `NAME/gradients`. `tests/quantizers/test_larq.py` compares
ours.
"""

import datetime
import pathlib

import larq
import numpy as np
import tensorflow as tf

RECORD = pathlib.Path(__file__).parents[1] / "quantizers" / "larq.npz"
TIES = [0, -0.0, 1, -1, 0.05, -0.05, 0.5, -0.5, 2, -2, 1 / 3, -1 / 3]

quantizers = larq.quantizers
QUANTIZERS = {
    "ste_sign": quantizers.SteSign(),
    "ste_sign_half": quantizers.SteSign(clip_value=0.5),
    "ste_sign_everywhere": quantizers.SteSign(clip_value=None),
    "approx_sign": quantizers.ApproxSign(),
    "swish_sign": quantizers.SwishSign(),
    "swish_sign_2": quantizers.SwishSign(beta=2.0),
    "magnitude_aware_sign": quantizers.MagnitudeAwareSign(),
    "magnitude_aware_sign_half": quantizers.MagnitudeAwareSign(clip_value=0.5),
    "ste_tern": quantizers.SteTern(),
    "ste_tern_mean": quantizers.SteTern(ternary_weight_networks=True),
    **{
        f"dorefa_activations_{nbits}": quantizers.DoReFa(nbits)
        for nbits in (1, 2, 4, 8)
    },
    **{
        f"dorefa_weights_{nbits}": quantizers.DoReFa(nbits, mode="weights")
        for nbits in (2, 4, 8)
    },
}


def arrays():
    """By name; ties first, and a filter of zeros."""
    rng = np.random.default_rng(0)
    for name, shape in {"kernel": (3, 3, 3, 5), "matrix": (9, 7)}.items():
        drawn = rng.normal(0, 0.7, shape)
        drawn.flat[: len(TIES)] = TIES
        drawn[..., -1] = 0
        yield name, drawn.astype("float32"), rng.normal(size=shape)
    yield "zeros", np.zeros((3, 2), "float32"), rng.normal(size=(3, 2))


def recorded(quantizer, inputs, upstream):
    inputs = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = quantizer(inputs)
    gradient = tape.gradient(value, inputs, tf.constant(upstream))
    return value.numpy(), gradient.numpy()


def main():
    record = {
        "made_with": f"larq {larq.__version__}, tensorflow {tf.__version__}, "
        f"{datetime.date.today().isoformat()}",
        "quantizers": list(QUANTIZERS),
    }
    for name, inputs, upstream in arrays():
        upstream = upstream.astype("float32")
        record[f"{name}/inputs"] = inputs
        record[f"{name}/upstream"] = upstream
        rows = [recorded(q, inputs, upstream) for q in QUANTIZERS.values()]
        values, gradients = map(np.stack, zip(*rows))
        record[f"{name}/values"] = values
        record[f"{name}/gradients"] = gradients
    np.savez_compressed(RECORD, **record)
    print(record["made_with"], f"{RECORD.stat().st_size} bytes")


if __name__ == "__main__":
    main()
