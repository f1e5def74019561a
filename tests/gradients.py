"""Values and gradients of functions of tensors, on any backend."""

import keras
import numpy as np
from keras import ops


def value_and_gradients(function, *arrays, upstream=None, compiled=False):
    """What a function returns, and its gradients by each array.

    Args:
        function: Takes as many tensors, returns one.
        *arrays: Of numpy.
        upstream: What the gradient is multiplied with, in the shape of the
            value; ones by default.
        compiled: Whether it is traced: as a graph, or by `jax.jit`.

    Returns: arrays, the value first.
    """
    jax = keras.backend.backend() == "jax"
    run = _by_jax if jax else _by_tensorflow
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    value, gradients = run(function, tensors, upstream, compiled)
    return tuple(map(ops.convert_to_numpy, (value, *gradients)))


def _by_jax(function, tensors, upstream, compiled):
    import jax

    def run(*tensors):
        value, pulled = jax.vjp(function, *tensors)
        above = np.ones(value.shape) if upstream is None else upstream
        return value, pulled(ops.convert_to_tensor(above, value.dtype))

    return (jax.jit(run) if compiled else run)(*tensors)


def _by_tensorflow(function, tensors, upstream, compiled):
    import tensorflow as tf

    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return value, tape.gradient(value, tensors, upstream)

    return (tf.function(run) if compiled else run)(*tensors)
