"""The bounded queue between threads."""

from __future__ import annotations

import threading
import time

import pytest

from humar_edge.runtime.channel import Cancelled, Channel


def test_order_end_and_backpressure():
    channel, sent = Channel[int](2), []

    def send():
        for number in range(20):
            channel.put(number)
            sent.append(number)
        channel.finish()

    thread = threading.Thread(target=send)
    thread.start()
    time.sleep(0.1)
    assert sent == [0, 1]
    assert list(channel) == list(range(20))
    thread.join()


def test_error_comes_after_the_items():
    channel = Channel[str](2)
    channel.put("a")
    channel.finish(ValueError("cause"))
    items = iter(channel)
    assert next(items) == "a"
    with pytest.raises(ValueError, match="cause"):
        next(items)


@pytest.mark.parametrize("side", ["reader", "writer"])
def test_cancel_wakes_both_sides(side):
    channel, outcome = Channel[int](1), []

    def work():
        try:
            if side == "reader":
                list(channel)
            else:
                channel.put(1)
                channel.put(2)
        except Cancelled:
            outcome.append("cancelled")

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.05)
    channel.cancel()
    thread.join(2)
    assert outcome == ["cancelled"]
