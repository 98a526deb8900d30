"""A bounded queue between two threads that carries an end and an error as well as items."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Cancelled(Exception):
    """The channel was cancelled: the thread using it shall end."""


class Channel(Generic[Item]):
    """Items in order from one thread to another.

    Args:
        capacity: How many items may wait; `put` blocks beyond that.
    """

    def __init__(self, capacity: int) -> None:
        self._items: deque[Item] = deque()
        self._capacity = capacity
        self._changed = threading.Condition()
        self._finished = self._cancelled = False
        self._error: BaseException | None = None

    def put(self, item: Item) -> None:
        """Add an item, waiting for room. Raises Cancelled."""
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled or len(self._items) < self._capacity)
            if self._cancelled:
                raise Cancelled
            self._items.append(item)
            self._changed.notify_all()

    def finish(self, error: BaseException | None = None) -> None:
        """No more items will come; the reader gets those that wait, then the end or the error."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def cancel(self) -> None:
        """End both sides at once."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Item]:
        """Take items until the end; raises the writer's error, or Cancelled."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._cancelled or self._finished or bool(self._items))
                if self._cancelled:
                    raise Cancelled
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
