"""One small rule per class of operations, found by the class."""

from collections.abc import Callable
from typing import Any


class RuleTable:
    """Rules by class, entered by a decorator.

    Example:

    >>> table = RuleTable()
    >>> @table.rule(keras.layers.Dense)
    ... def dense(call): ...
    >>> table.find(MyDense) is dense
    True
    """

    def __init__(self):
        self._rules: dict[type | str, Callable[..., Any]] = {}

    def rule(self, *kinds: type | str) -> Callable:
        """Enters the decorated rule, in place of one that is there.

        Args:
            *kinds: Layer classes, with their subclasses; or class names of
                operations of Keras that have no public class, such as
                `"Matmul"` for `keras.ops.matmul`.
        """

        def enter(function):
            self._rules.update(dict.fromkeys(kinds, function))
            return function

        return enter

    def find(self, kind: type) -> Callable[..., Any] | None:
        """The rule of a class, or of the nearest that it extends, if any."""
        for parent in kind.__mro__:
            if parent in self._rules:
                return self._rules[parent]
        if kind.__module__.split(".")[0] == "keras":
            return self._rules.get(kind.__name__)
        return None
