"""A sound system without a sound card, and a clock that moves only while somebody waits."""

from __future__ import annotations

import atexit
import heapq
import itertools
import sys
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.audio import portaudio
from edge.types import FloatArray


class Clock:
    """Stands in for the module `time`; `now` is in seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Have something happen when so much time has passed from now on."""
        heapq.heappush(self._plans, (self.now + seconds, next(self._order), action))

    def wait(self, timeout_s: float, over: Callable[[], bool]) -> bool:
        """Let time pass, and what is planned happen, until `over` or for so long."""
        end = self.now + timeout_s
        while not over() and self._plans and self._plans[0][0] <= end:
            moment, _, action = heapq.heappop(self._plans)
            self.now = max(self.now, moment)
            action()
        if not over():
            self.now = max(self.now, end)
        return over()

    def event(self) -> threading.Event:
        """An event that is waited for by this clock."""
        event = threading.Event()

        def wait(timeout: float | None = None) -> bool:
            assert timeout is not None, "nobody waits for ever"
            return self.wait(timeout, event.is_set)

        event.wait = wait  # type: ignore[method-assign]
        return event

    def govern(self, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
        """Have these modules go by this clock."""
        for module in modules:
            monkeypatch.setattr(module, "time", self)
            if hasattr(module, "threading"):
                monkeypatch.setattr(module, "threading", SimpleNamespace(Event=self.event))


class Stream:
    """A stream as PortAudio opens it, and how it is fed."""

    def __init__(self, system: SoundSystem, settings: dict[str, Any]) -> None:
        self._system = system
        self.settings = settings
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")
        if self._system.refuses_start:
            raise self._system.PortAudioError("Device unavailable")

    def abort(self, *, ignore_errors: bool) -> None:
        assert ignore_errors
        self.calls.append("abort")
        if self._system.fails_to_stop:
            raise OSError("gone")

    def close(self, *, ignore_errors: bool) -> None:
        assert ignore_errors
        self.calls.append("close")

    def say(self, samples: FloatArray, *, overflow: bool = False) -> None:
        """Deliver samples on the first channel; every other one has noise."""
        data = np.full((len(samples), self.settings["channels"]), 0.7, np.float32)
        data[:, 0] = samples
        status = SimpleNamespace(input_overflow=overflow)
        self.settings["callback"](data, len(samples), None, status)

    def end(self) -> None:
        """The device is gone."""
        self.settings["finished_callback"]()


class SoundSystem:
    """Stands in for the module `sounddevice`.

    `devices` are names, channels and rates; `accepted` the rates and channels that can be opened,
    all if empty; `asked` what was asked for; `looks` counts how often devices were looked for, and
    `ended` how often the library was left.
    """

    class PortAudioError(Exception):
        """As `sounddevice.PortAudioError`."""

    def __init__(self) -> None:
        self.devices: list[tuple[str, int, float]] = [("desk", 1, 48_000.0)]
        self.default = SimpleNamespace(device=(0, 5))
        self._lib = SimpleNamespace(Pa_GetDefaultInputDevice=lambda: 1)
        self.accepted: Sequence[tuple[float, int]] = ()
        self.asked: list[tuple[float, int]] = []
        self.refuses_start = self.fails_to_stop = False
        self.streams: list[Stream] = []
        self.looks = self.ended = 0
        self._initialized = True

    def query_devices(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "max_input_channels": channels, "default_samplerate": rate}
            for name, channels, rate in self.devices
        ]

    def check_input_settings(
        self, *, device: int, channels: int, dtype: str, samplerate: float
    ) -> None:
        assert device < len(self.devices)
        assert dtype == "float32"
        self.asked.append((samplerate, channels))
        if self.accepted and (samplerate, channels) not in self.accepted:
            raise self.PortAudioError(f"not {samplerate:g} Hz with {channels}")

    def InputStream(self, **settings: Any) -> Stream:  # noqa: N802 - as it is called there
        self.streams.append(Stream(self, settings))
        return self.streams[-1]

    def _terminate(self) -> None:
        self._initialized = False

    def _initialize(self) -> None:
        assert not self._initialized
        self._initialized = True
        self.looks += 1

    def _exit_handler(self) -> None:
        self.ended += 1

    @classmethod
    def installed(cls, monkeypatch: pytest.MonkeyPatch) -> SoundSystem:
        """One in the place of PortAudio."""
        system = cls()
        monkeypatch.setattr(portaudio, "_LIBRARY", [])
        monkeypatch.setattr(atexit, "register", lambda *_: None)
        monkeypatch.setitem(sys.modules, "sounddevice", system)
        return system
