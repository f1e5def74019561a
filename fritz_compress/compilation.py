"""Many small assignments to variables as one compiled call.

The only file beside conversion and training that names a backend: called one
by one from Python, a comparison and an assignment for every weight of a model
cost a tenth of a training step, and Keras has no public function that
compiles other code than a model's own steps.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

_MANY_VALUES = 1_000_000


def compiled_update(
    function: Callable[..., Sequence[Any]],
    variables: Sequence[keras.Variable],
) -> Callable[..., None]:
    """A call that gives variables new values, compiled where that is possible.

    On TensorFlow the assignments are part of one `tf.function`, under
    `tf.distribute` strategies as well; on JAX the function runs in `jax.jit`
    and the results are assigned one by one, which copies nothing. On other
    backends nothing is compiled.

    Args:
        function: Called as `function(values, *args)` with the list of the
            variables' values, and the arguments of the call returned here.
            Returns the new values in the same order; made of `keras.ops`,
            without side effects.
        variables: What is updated. Built, and the same for all calls.

    Returns: a function of `*args`, structures of tensors. It is traced again
        only when shapes, types or structure of the arguments change: pass
        what changes between calls as a tensor, not as a Python number.

    Example:

    >>> decay = compiled_update(
    ...     lambda values, factor: [value * factor for value in values],
    ...     model.trainable_variables,
    ... )
    >>> decay(keras.ops.convert_to_tensor(0.9))
    """
    variables = tuple(variables)

    def update(*args):
        values = function([variable.value for variable in variables], *args)
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(
            update, autograph=False, jit_compile=_pays_off(tf, variables)
        )
    if keras.backend.backend() == "jax":
        import jax

        function = jax.jit(function)
    return update


def _pays_off(tf, variables):
    """Whether XLA saves more time than it takes, which is a second or so.

    It does not compile for variables that have a copy on each device.
    """
    copied = (tf.distribute.DistributedValues,)
    if any(isinstance(variable.value, copied) for variable in variables):
        return None
    size = sum(math.prod(variable.shape) for variable in variables)
    return True if size >= _MANY_VALUES else None
