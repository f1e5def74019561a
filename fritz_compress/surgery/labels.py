"""Labels of channels: which ones are the same, and which must stay."""

import numpy as np


class Labels:
    """Integers that name channels, in classes that can only grow together.

    Every channel of every layer gets a label. Two labels are united when
    their channels cannot be removed one without the other, such as those that
    a residual addition adds; a class is frozen when it must stay, with the
    reason. (A union-find structure; the smallest label stands for its class.)

    Example:

    >>> labels = Labels()
    >>> first, second = labels.new(3), labels.new(3)
    >>> labels.unite(first, second)
    >>> labels.freeze(second[:1], "the model returns it")
    >>> labels.roots(second), labels.reason(first[0])
    (array([0, 1, 2]), 'the model returns it')
    """

    def __init__(self):
        self._parent = np.zeros(0, int)
        self._reasons: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._parent)

    def new(self, count: int) -> np.ndarray:
        """Makes `count` labels, each in a class of its own."""
        first = len(self._parent)
        fresh = np.arange(first, first + count)
        self._parent = np.concatenate([self._parent, fresh])
        return fresh

    def roots(self, labels: np.ndarray) -> np.ndarray:
        """The label that stands for each one's class; any shape."""
        found = self._parent[np.asarray(labels, int)]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                return found
            self._parent = self._parent[self._parent]  # Shorten the paths.
            found = above

    def unite(self, first: np.ndarray, second: np.ndarray) -> None:
        """Joins the classes of labels at equal places, broadcast."""
        if first is second:
            return
        first, second = np.broadcast_arrays(
            self.roots(first), self.roots(second)
        )
        different = first != second
        low = np.minimum(first, second)[different]
        high = np.maximum(first, second)[different]
        if len(np.unique(high)) == len(high) and not np.isin(high, low).any():
            self._parent[high] = low
            for child in self._reasons.keys() & set(high.tolist()):
                self._move_reason(child)
            return
        for left, right in set(zip(low.tolist(), high.tolist())):
            self._join(self._root(left), self._root(right))

    def freeze(
        self, labels: np.ndarray, reason: str, overrule: bool = False
    ) -> None:
        """Keeps classes for good.

        Args:
            labels: Some of each class.
            reason: The first one that is given to a class stays,
            overrule: unless this one takes its place.
        """
        for root in np.unique(self.roots(labels)).tolist():
            if overrule or root not in self._reasons:
                self._reasons[root] = reason

    def reason(self, label: int) -> str | None:
        """Why a label's class is frozen, `None` if it is not."""
        return self._reasons.get(self._root(label))

    def _root(self, label):
        while self._parent[label] != label:
            label = self._parent[label]
        return int(label)

    def _join(self, left, right):
        if left == right:
            return
        root, child = min(left, right), max(left, right)
        self._parent[child] = root
        if child in self._reasons:
            self._move_reason(child)

    def _move_reason(self, child):
        reason = self._reasons.pop(child)
        self._reasons.setdefault(self._root(child), reason)
