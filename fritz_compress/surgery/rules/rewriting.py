"""Constants in the calls of a model, cut along with its channels."""

import numpy as np
from keras import ops, tree

from fritz_compress.surgery.call import Call


def cut_arguments(
    call: Call, wanted: list[tuple[int, int, np.ndarray]]
) -> None:
    """Has positional arguments that are arrays cut.

    Args:
        call: The call of an operation that is called once.
        wanted: Place of the argument among all, lists flattened; axis; and
            labels along the axis.
    """

    def rewrite(keep):
        def run(operation, *args, **kwargs):
            flat = tree.flatten(args)
            for place, axis, labels in wanted:
                constant = ops.convert_to_numpy(flat[place])
                flat[place] = np.take(constant, keep(labels), axis)
            return operation(*tree.pack_sequence_as(args, flat), **kwargs)

        return run

    call.rewrite(rewrite, [labels for _, _, labels in wanted])
