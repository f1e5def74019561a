"""Constants in the calls of a model, cut along with its channels."""

import numpy as np
from keras import ops

from fritz_compress.surgery.call import Call


def cut_arguments(
    call: Call, wanted: list[tuple[int, int, np.ndarray]]
) -> None:
    """Has positional arguments that are arrays cut.

    Args:
        call: The call of an operation that is called once.
        wanted: Place of the argument, axis, and labels along the axis.
    """

    def rewrite(keep):
        def run(operation, *args, **kwargs):
            args = list(args)
            for place, axis, labels in wanted:
                constant = ops.convert_to_numpy(args[place])
                args[place] = np.take(constant, keep(labels), axis)
            return operation(*args, **kwargs)

        return run

    call.rewrite(rewrite)
