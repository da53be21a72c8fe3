"""The ring: nothing lost while the reader keeps up, what is lost counted when it does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge.audio.ring import Ring, RingRead
from edge.types import FloatArray
from tests.unit.sound_system import Clock


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


def _read(ring: Ring, count: int) -> RingRead:
    stretch = ring.read(count, 0.0)
    assert stretch is not None
    return stretch


def test_too_little_is_waited_for_and_then_none(sound_clock: Clock) -> None:
    ring = Ring(100, rate=1000)
    ring.write(_count(0, 9))

    assert ring.read(10, 0.5) is None
    assert sound_clock.now == 1000.5
    sound_clock.after(0.25, lambda: ring.write(_count(9, 10)))
    stretch = ring.read(10, 0.5)

    assert sound_clock.now == 1000.75
    assert stretch is not None
    np.testing.assert_array_equal(stretch.samples, _count(0, 10))
    sound_clock.after(0.125, ring.wake)
    assert ring.read(10, 0.5) is None
    assert sound_clock.now == 1000.875


def test_overflow_keeps_the_newest_and_counts_the_rest() -> None:
    ring = Ring(100, rate=1000)
    for start in range(0, 250, 10):
        ring.write(_count(start, start + 10))

    first, second = _read(ring, 20), _read(ring, 20)

    assert first.lost == 200  # half a ring behind the writer, so that it is one gap, not many
    np.testing.assert_array_equal(first.samples, _count(200, 220))
    assert second.lost == 0
    np.testing.assert_array_equal(second.samples, _count(220, 240))


@pytest.mark.parametrize(("written", "lost"), [(99, 0), (100, 0), (101, 51)])
def test_the_ring_is_full_to_its_last_sample(written: int, lost: int) -> None:
    ring = Ring(100, rate=1000)
    ring.write(_count(0, 50))
    ring.write(_count(50, written))
    stretch = _read(ring, written - lost)
    assert (stretch.lost, ring.written) == (lost, written)
    np.testing.assert_array_equal(stretch.samples, _count(lost, written))


def test_the_smallest_ring() -> None:
    ring = Ring(2, rate=1000)
    ring.write(_count(1, 3))
    np.testing.assert_array_equal(_read(ring, 2).samples, _count(1, 3))
    with pytest.raises(ValueError, match="two samples at least"):
        Ring(1, rate=1000)


def test_upstream_loss_is_told_exactly_where_it_was() -> None:
    ring = Ring(100, rate=1000)
    ring.write(_count(0, 15))
    ring.write(_count(15, 40), lost=7)
    ring.write(_count(40, 50), lost=9)

    before, after = _read(ring, 20), _read(ring, 20)

    np.testing.assert_array_equal(before.samples, _count(0, 15))
    assert before.lost == 0
    np.testing.assert_array_equal(after.samples, _count(15, 35))
    assert after.lost == 7


def test_losses_are_counted_in_bounded_memory() -> None:
    ring = Ring(2000, rate=1000)
    for number in range(1100):
        ring.write(_count(number, number + 1), lost=1)
    assert sum(_read(ring, 1).lost for _ in range(1100)) == 1024


def test_losses_add_up_where_they_meet() -> None:
    ring = Ring(100, rate=1000)
    ring.write(_count(0, 0), lost=5)
    ring.write(_count(0, 100), lost=7)
    assert _read(ring, 100).lost == 12
    ring.write(_count(100, 350), lost=3)  # longer than the ring: its end is kept
    stretch = _read(ring, 100)
    assert stretch.lost == 3 + 150
    np.testing.assert_array_equal(stretch.samples, _count(250, 350))
    # What was lost upstream within what is then overwritten is lost as well.
    ring.write(_count(350, 400))
    ring.write(_count(400, 460), lost=9)
    assert _read(ring, 50).lost == 60 + 9


def test_what_is_read_late_is_dated_when_it_came(sound_clock: Clock) -> None:
    ring = Ring(1000, rate=1000)
    assert ring.last_write_at == 1000.0
    sound_clock.now = 1001.0
    ring.write(_count(0, 500))
    sound_clock.now = 1009.0

    assert _read(ring, 100).captured_at == pytest.approx(1000.6)
    rest = _read(ring, 400)
    assert rest.captured_at == 1001.0
    assert "samples" not in repr(rest)
    assert ring.last_write_at == 1001.0


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


class Watched(np.ndarray):
    """Samples whose copying into a ring is seen."""

    seen: Callable[[], None]

    def __getitem__(self, key: Any) -> Any:
        type(self).seen()
        return np.asarray(self)[key]


def test_what_is_being_overwritten_is_not_read() -> None:
    ring = Ring(1000, rate=1000)
    ring.write(_count(0, 1000))
    assert _read(ring, 100).lost == 0
    taken: list[RingRead] = []
    Watched.seen = lambda: taken.append(_read(ring, 100)) if not taken else None

    ring.write(_count(1000, 1600).view(Watched))

    assert taken[0].lost == 900
    assert len(taken[0].samples) == 0
    following = _read(ring, 100)
    assert following.lost == 0
    np.testing.assert_array_equal(following.samples, _count(1000, 1100))


def test_what_was_overwritten_while_it_was_read_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ring = Ring(1000, rate=1000)
    ring.write(_count(0, 1000))
    copy = np.concatenate

    def slow(parts: Any) -> Any:
        if ring.written == 1000:
            ring.write(_count(1000, 1200))
        return copy(parts)

    monkeypatch.setattr(np, "concatenate", slow)
    stretch = _read(ring, 100)
    assert stretch.lost == 700
    np.testing.assert_array_equal(stretch.samples, _count(700, 800))
