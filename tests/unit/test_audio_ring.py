"""The ring: nothing lost while the reader keeps up, what is lost counted when it does not."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from edge.audio.microphone import Ring
from edge.types import FloatArray


def _count(start: int, stop: int) -> FloatArray:
    return np.arange(start, stop, dtype=np.float32)


def test_samples_come_out_in_order_across_the_end_of_the_buffer() -> None:
    ring = Ring(100, rate=1000)
    out = []
    for start in range(0, 700, 70):
        ring.write(_count(start, start + 70))
        stretch = ring.read(70, 0.0)
        assert stretch is not None
        assert stretch.lost == 0
        out.append(stretch.samples)

    np.testing.assert_array_equal(np.concatenate(out), _count(0, 700))


def test_too_little_is_waited_for_and_then_none() -> None:
    ring = Ring(100, rate=1000)
    ring.write(_count(0, 9))

    assert ring.read(10, 0.01) is None
    ring.write(_count(9, 10))
    stretch = ring.read(10, 0.01)

    assert stretch is not None
    np.testing.assert_array_equal(stretch.samples, _count(0, 10))


def test_overflow_keeps_the_newest_and_counts_the_rest() -> None:
    ring = Ring(100, rate=1000)
    for start in range(0, 250, 10):
        ring.write(_count(start, start + 10))

    first = ring.read(20, 0.0)
    second = ring.read(20, 0.0)

    assert first is not None
    assert second is not None
    assert first.lost == 200  # half a ring behind the writer, so that it is one gap, not many
    np.testing.assert_array_equal(first.samples, _count(200, 220))
    assert second.lost == 0
    np.testing.assert_array_equal(second.samples, _count(220, 240))


def test_upstream_loss_is_told_exactly_where_it_was() -> None:
    ring = Ring(100, rate=1000)
    ring.write(_count(0, 15))
    ring.write(_count(15, 40), lost=7)

    before = ring.read(20, 0.0)
    after = ring.read(20, 0.0)

    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(before.samples, _count(0, 15))
    assert before.lost == 0
    np.testing.assert_array_equal(after.samples, _count(15, 35))
    assert after.lost == 7


def test_write_longer_than_the_ring_keeps_its_end() -> None:
    ring = Ring(100, rate=1000)
    ring.write(_count(0, 250))

    stretch = ring.read(100, 0.0)

    assert stretch is not None
    assert stretch.lost == 150
    np.testing.assert_array_equal(stretch.samples, _count(150, 250))


def test_what_is_read_late_is_dated_when_it_came() -> None:
    ring = Ring(1000, rate=1000)
    ring.write(_count(0, 500))
    written_at = time.monotonic()

    stretch = ring.read(100, 0.0)

    assert stretch is not None
    assert stretch.captured_at == pytest.approx(written_at - 0.4, abs=0.05)


def test_wake_ends_a_wait() -> None:
    ring = Ring(100, rate=1000)
    threading.Timer(0.1, ring.wake).start()
    started = time.monotonic()

    assert ring.read(10, 10.0) is None
    assert time.monotonic() - started < 5.0


def test_every_sample_is_read_or_counted_with_two_threads() -> None:
    """A writer without mercy and a reader that stumbles: order holds, and the sum is exact."""
    ring = Ring(4_000, rate=1e9)
    total = 2_000_000

    def write() -> None:
        for start in range(0, total, 1_000):
            ring.write(_count(start, start + 1_000))
            if start % 50_000 == 0:
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    expected = 0
    gaps = 0
    while True:
        stretch = ring.read(600, 0.2)
        if stretch is None:
            if not writer.is_alive():
                break
            continue
        expected += stretch.lost
        gaps += stretch.lost > 0
        count = len(stretch.samples)
        np.testing.assert_array_equal(stretch.samples, _count(expected, expected + count))
        expected += count
        if expected % 7 == 0:
            time.sleep(0.002)
    writer.join()

    assert expected > total - 600
    assert gaps > 0


def test_what_is_being_overwritten_is_not_read() -> None:
    ring = Ring(1000, rate=1000)
    ring.write(_count(0, 1000))
    ring._claimed += 500  # a writer in the middle of its copy

    stretch = ring.read(100, 0.0)

    assert stretch is not None
    assert stretch.lost >= 500
    np.testing.assert_array_equal(
        stretch.samples, _count(stretch.lost, stretch.lost + len(stretch.samples))
    )
