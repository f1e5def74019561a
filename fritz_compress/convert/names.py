"""Short names for what is inside a file."""

import string
from collections.abc import Collection, Iterator


def short_names(taken: Collection[str] = ()) -> Iterator[str]:
    """a, b, ..., z, a0, b0, ..., z0, a1, ... without end.

    Identifiers in every format, and never a reserved word.

    Args:
        taken: Names to leave out.

    >>> names = short_names(taken=["b"])
    >>> next(names), next(names)
    ('a', 'c')
    """
    yield from (n for n in string.ascii_lowercase if n not in taken)
    number = 0
    while True:
        for letter in string.ascii_lowercase:
            if (name := f"{letter}{number}") not in taken:
                yield name
        number += 1
