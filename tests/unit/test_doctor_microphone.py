"""What the doctor says of a microphone and its sound, at the limits of each finding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge.config import AudioConfig, Config
from edge.doctor import Finding, microphone
from edge.doctor.context import Context, Unit
from edge.doctor.microphone import check, judge_rate, judge_sound
from edge.types import FloatArray
from tests.integration.doctor import codes
from tests.unit.sound_system import Clock, SoundSystem


def _level(*dbfs: float) -> FloatArray:
    """Three seconds of which equal parts have these levels."""
    signs = np.tile(np.array([1, -1], np.float32), 512 // 2)
    magnitudes = np.repeat(10.0 ** (np.array(dbfs) / 20.0), 93 // len(dbfs))
    return (magnitudes[:, None] * signs).astype(np.float32).reshape(-1)


def _dbfs(magnitude: float) -> float:
    return float(20.0 * np.log10(magnitude))


def _clipped(count: int, magnitude: float, level: float = -50.0) -> FloatArray:
    samples = np.tile(_level(level), 2)[:48_000]
    samples[:count] = magnitude
    return samples


def _partly(count: int, magnitude: float, rest: float) -> FloatArray:
    """So many samples of a magnitude at the end of others."""
    samples = np.full(48_000 + count, rest, np.float32)
    samples[48_000:] = magnitude
    return samples


@pytest.mark.parametrize(
    ("samples", "code", "text"),
    [
        (np.zeros(48_000, np.float32), "sound.silent", "3.0 s of exact zeros"),
        (_level(-80.1), "sound.faint", "-80 dBFS at most, less than any room"),
        (_level(-90.0, -80.1), "sound.faint", "-80 dBFS at most"),
        (
            _level(-90.0, -79.9),
            "sound.arrives",
            "-83 dBFS on average, -80 at most, -90 in the quietest",
        ),
        (_level(-35.1), "sound.arrives", "3.0 s recorded: -35 dBFS on average, -35 at most"),
        (_level(-34.9), "sound.noisy", "too much noise: -35 dBFS in the quietest moments"),
        (_level(*[-20.0] * 8, -35.1), "sound.arrives", "-35 in the quietest"),
        # The quietest tenth of 90 frames: 9 at -60 and -20.
        (_level(*[-20.0] * 9, -60.0), "sound.arrives", "-60 in the quietest"),
        (_level(*[-20.0] * 14, -60.0), "sound.noisy", "-25 dBFS in the quietest"),
        (_clipped(47, 1.0), "sound.arrives", "at most"),
        (_clipped(48, 1.0), "sound.clipping", "0.1% of the samples are at full scale"),
        (_clipped(480, -0.999), "sound.clipping", "1.0% of"),
        (_clipped(480, 0.998), "sound.arrives", "at most"),
        # Overdriven goes before noisy.
        (_clipped(48, 1.0, -30.0), "sound.clipping", "0.1% of"),
        (
            np.full(512, 1e-3, np.float32),
            "sound.arrives",
            "0.0 s recorded: -60 dBFS on average, -60 at",
        ),
        (
            np.repeat(np.array([0.1, 1e-3], np.float32), 512),
            "sound.arrives",
            "-20 at most, -60 in the quietest",
        ),
        # What is no whole frame has no level.
        (_partly(100, 0.5, 1e-5), "sound.faint", "-100 dBFS at most"),
    ],
)
def test_what_a_sound_is_worth(samples: FloatArray, code: str, text: str) -> None:
    found = judge_sound(samples)
    assert codes([found]) == [code]
    assert text in found.found


@pytest.mark.parametrize(
    ("rate", "code"),
    [
        (15_999, "microphone.narrow"),
        (16_000, "microphone.opened"),
        (16_001, "microphone.resampled"),
        (48_000, "microphone.resampled"),
    ],
)
def test_rates(rate: float, code: str) -> None:
    found = judge_rate("Mic", rate)
    assert codes([found]) == [code]
    assert f"{rate} Hz" in found.found


class House:
    """What is looked at, and how it is examined."""

    def __init__(self, system: SoundSystem, clock: Clock) -> None:
        self.system = system
        self.clock = clock
        self.context = Context()

    def hear(self, seconds: float, times: int) -> None:
        """Have so many blocks arrive, one every so many seconds; the last one is the loudest."""
        for number in range(times):
            level = 0.01 if number == times - 1 else 0.001
            self.clock.after(seconds * (number + 1), self._say(level))

    def _say(self, level: float) -> Callable[[], None]:
        return lambda: self.system.streams[-1].say(_level(_dbfs(level))[:512] + np.float32(0.1))

    def examined(self) -> list[Finding]:
        found = list(check(self.context))
        codes(found)
        return found


@pytest.fixture
def house(sound_system: SoundSystem, sound_clock: Clock, monkeypatch: pytest.MonkeyPatch) -> House:
    sound_clock.govern(monkeypatch, microphone)
    return House(sound_system, sound_clock)


def test_three_seconds_are_recorded(house: House) -> None:
    house.hear(0.032, times=94)
    opened, sound = house.examined()
    assert opened.found == "'desk' opens at 16000 Hz"
    assert sound.found.startswith("3.0 s recorded: -57 dBFS on average, -40 at most, -60 in the")
    assert house.clock.now == pytest.approx(1003.008)
    assert house.system.streams[0].calls == ["start", "abort", "close"]


def test_where_it_comes_slowly_it_is_recorded_for_six_seconds(house: House) -> None:
    house.hear(0.25, times=25)
    assert "0.8 s recorded: -53 dBFS on average, -40 at most" in house.examined()[1].found
    assert house.clock.now == 1006.25


def test_a_microphone_of_its_own_rate(house: House) -> None:
    house.system.accepted = [(48_000.0, 1)]
    house.context = Context(Config(audio=AudioConfig(device="DESK")))
    found = house.examined()
    assert [each.code for each in found] == ["microphone.resampled", "sound.nothing"]
    assert found[0].found == "'desk' opens at 48000 Hz, resampled to 16000 Hz"
    assert found[1].found == "no sound: microphone 'desk' has delivered nothing for 5.2 s"


BUSY = "it cannot be opened (no microphone is called 'garden'); the running service may be using it"


@pytest.mark.parametrize(
    ("context", "code", "found", "remedy"),
    [
        ({}, "closed", "no microphone is called 'garden'",
         "set audio.device to one of these: 0 'desk'"),
        ({"status": {"state": "online", "microphone": "listening"}}, "held",
         "in use by the running service, which reports that it is listening", ""),
        ({"status": {"state": "online", "microphone": "lost", "reason": "x" * 300}}, "lost",
         f"lost by the running service: {'x' * 200}",
         "check its plug and cable; the service retries every second"),
        ({"status": {"state": "online", "microphone": "lost"}}, "lost",
         "lost by the running service: no reason given", None),
        ({"status": {"state": "offline", "microphone": "listening"}}, "closed",
         "no microphone is called 'garden'", None),
        ({"unit": Unit({"ActiveState": "active"})}, "busy",
         BUSY, None),
    ],
)  # fmt: skip
def test_one_that_cannot_be_opened(
    house: House, context: dict[str, Any], code: str, found: str, remedy: str | None
) -> None:
    house.context = Context(Config(audio=AudioConfig(device="garden")), **context)
    closed, sound = house.examined()
    assert (closed.code, closed.found) == (f"microphone.{code}", found)
    assert remedy in (None, closed.remedy)
    assert sound.code == "sound.not_heard"


def test_quick_leaves_it_out(house: House) -> None:
    house.context = Context(quick=True)
    assert [each.code for each in house.examined()] == ["microphone.left_out"]
    assert house.system.looks == 0
