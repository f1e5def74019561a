"""What a user meant by a name that there is not."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known name that was meant by another one, if one is near.

    A name that was cut off means the shortest that begins with it.

    >>> nearest("con", ["conv_4", "conv"])
    ['conv']
    """
    known = list(known)
    longer = [other for other in known if name and other.startswith(name)]
    if longer:
        return [min(longer, key=len)]
    return difflib.get_close_matches(name, known, n=1, cutoff=0.3)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to put behind an error, or nothing if no name is near.

    >>> did_you_mean("ste_sing", ["dorefa", "ste_sign"])
    " Did you mean 'ste_sign'?"
    """
    return "".join(f" Did you mean '{near}'?" for near in nearest(name, known))
