"""Choosing a microphone by speaking into each: which there are, what each hears, what is kept."""

from __future__ import annotations

import io
import os
import stat
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.audio.devices import InputDevice, choose, lasting_name
from edge.cli.enrolling import chosen_device
from edge.config import load_config
from edge.config.editing import changed
from edge.enrollment import microphones
from edge.enrollment.microphones import (
    MicrophoneLevel,
    as_setting,
    best_of,
    listen_to,
    real_microphones,
)
from edge.errors import MicrophoneError
from edge.store import open_store
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray, Quality
from tests.unit.voices import quiet, samples_of

NAMES = (
    "HDA Intel PCH: ALC257 Analog (hw:0,0)",
    "sysdefault",
    "front",
    "surround51",
    "iec958",
    "spdif",
    "dmix",
    "USB PnP Sound Device: Audio (hw:1,0)",
    "ReSpeaker 4 Mic Array: USB Audio (hw:2,0)",
    "pulse",
    "pipewire",
    "jack",
    "default",
    "Monitor of Built-in Audio",
    "desk",
)


def devices(*names: str) -> list[InputDevice]:
    return [
        InputDevice(index, name, 1, 48_000.0, is_default=name == "default")
        for index, name in enumerate(names)
    ]


def test_alsas_many_names_are_a_few_microphones() -> None:
    assert [device.name for device in real_microphones(devices(*NAMES))] == [
        "HDA Intel PCH: ALC257 Analog (hw:0,0)",
        "USB PnP Sound Device: Audio (hw:1,0)",
        "ReSpeaker 4 Mic Array: USB Audio (hw:2,0)",
        "desk",
    ]


def test_a_name_that_lasts_leaves_out_the_cards_number() -> None:
    there = devices(*NAMES)
    name = lasting_name(there[7], there)
    assert name == "USB PnP Sound Device: Audio"
    assert choose(there, name) is there[7]
    twins = devices("USB: Audio (hw:1,0)", "USB: Audio (hw:2,0)")
    assert lasting_name(twins[1], twins) == "USB: Audio (hw:2,0)"


def _quality(level: float = -25.0, snr: float = 30.0, clipped: float = 0.0) -> Quality:
    return Quality(level, level - snr, snr, clipped, 3.0)


def test_the_clearest_is_the_best() -> None:
    there = devices("a", "b", "c", "d")
    deaf = MicrophoneLevel(there[0], Quality(-100.0, -70.0, 0.0, 0.0, 0.0))
    broken = MicrophoneLevel(there[1], None, "it is busy")
    assert best_of([deaf, broken]) is None
    near, far = MicrophoneLevel(there[2], _quality()), MicrophoneLevel(there[3], _quality(snr=12.0))
    assert best_of([deaf, far, broken, near]) is near
    assert best_of([far, MicrophoneLevel(there[2], _quality(clipped=0.2))]) is far
    assert best_of([far, MicrophoneLevel(there[2], _quality(level=-70.0))]) is far
    for heard, worth in (
        (_quality(snr=30.0), 30.0),
        (_quality(clipped=0.01), 28.0),
        (_quality(level=-45.0), 30.0),
        (_quality(level=-48.0), 27.0),
        (replace(_quality(), net_speech_s=0.3), 30.0),
        (replace(_quality(), net_speech_s=0.29), -np.inf),
    ):
        assert MicrophoneLevel(there[0], heard).worth_db == pytest.approx(worth)
    assert near.words() == "speech at -25 dB, 30 dB above the noise"
    assert (deaf.words(), broken.words()) == ("no speech", "cannot be opened: it is busy")


class Fake:
    """A microphone that hears what `SOUNDS` has for it; without any it cannot be opened."""

    SOUNDS: dict[str, FloatArray]

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False

    def __enter__(self) -> Fake:
        if self.name not in self.SOUNDS:
            raise MicrophoneError("it is in use")
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def blocks(self) -> Iterator[AudioBlock]:
        sound = self.SOUNDS[self.name]
        for at in range(0, len(sound), 512):
            yield AudioBlock(sound[at : at + 512], at / SAMPLE_RATE, time.monotonic())
        if self.name == "pulled out":
            raise MicrophoneError("it has gone away")


@pytest.fixture
def sounds(monkeypatch: pytest.MonkeyPatch) -> dict[str, FloatArray]:
    speech = samples_of("ada_enroll_1")
    found = {
        "near (hw:1,0)": speech,
        "far (hw:2,0)": (0.1 * speech + quiet(len(speech) / SAMPLE_RATE, 2e-3)).astype(np.float32),
        "deaf": quiet(2.0),
        "pulled out": quiet(0.5),
    }
    monkeypatch.setattr(Fake, "SOUNDS", found, raising=False)
    return found


@pytest.mark.usefixtures("sounds")
def test_all_listen_at_once() -> None:
    there = devices("far (hw:2,0)", "near (hw:1,0)", "deaf", "pulled out", "busy")
    shown: list[Sequence[float]] = []
    heard = listen_to(there, shown.append, listen_s=5.0, opened_as=Fake)
    assert [one.device for one in heard] == there
    assert best_of(heard) is heard[1]
    assert [one.hears for one in heard] == [True, True, False, False, False]
    assert heard[3].fault == "it has gone away"
    assert heard[4].fault == "it is in use"
    assert all(len(levels) == 5 for levels in shown)
    assert heard[1].as_dict()["name"] == "near (hw:1,0)"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


Ask = Callable[..., tuple[str | None, str]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, config: Path, sounds: dict[str, FloatArray]) -> Ask:
    """Has somebody at a terminal choose; returns what was chosen and what was shown."""

    settings = load_config(config)
    open_store(settings.state_path).close()

    def asked(
        *answers: str, there: Sequence[str] = tuple(sounds), terminal: bool = True, **given: object
    ) -> tuple[str | None, str]:
        screen = Terminal()
        stream = Terminal if terminal else io.StringIO
        typed = stream("".join(f"{answer}\n" for answer in answers))
        monkeypatch.setattr("sys.stdin", typed)
        monkeypatch.setattr("sys.stderr", screen)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr("edge.audio.devices.list_devices", lambda: devices(*there, "default"))
        listen = microphones.listen_to
        monkeypatch.setattr(
            "edge.enrollment.microphones.listen_to",
            lambda chosen, levels: listen(chosen, levels, opened_as=Fake),
        )
        args = Namespace(device=None, choose_microphone=False, config=None)
        vars(args).update(given)
        settings = load_config(config)
        try:
            with open_store(settings.state_path) as store:
                return chosen_device(args, settings, store), screen.getvalue()
        finally:
            monkeypatch.setattr("edge.enrollment.microphones.listen_to", listen)

    return asked


def test_the_best_is_proposed_and_kept_beside_the_comments(ask: Ask, config: Path) -> None:
    config.write_text("# ours\nstate_directory: state\naudio:\n  ring_s: 20 # enough\n")
    chosen, shown = ask("", "y", there=["far (hw:2,0)", "near (hw:1,0)", "busy"])
    assert chosen == "near (hw:1,0)"
    assert "3 microphones found. Stand where you will speak, and talk for 5 seconds." in shown
    assert "Now busy alone: talk again." in shown
    assert "* 2  near (hw:1,0)" in shown
    assert "cannot be opened: it is in use" in shown
    assert "Microphone to use [2]: " in shown
    assert f"Save it as audio.device in {config} [n]: " in shown
    assert f"Saved in {config}: restart the service to use it." in shown
    assert load_config(config).audio.device == "near"
    assert "# ours\n" in config.read_text()
    assert "ring_s: 20 # enough" in config.read_text()
    assert ask(there=["far (hw:2,0)", "near (hw:1,0)"]) == (None, "")  # it is configured now
    chosen, shown = ask("", choose_microphone=True, there=["near (hw:1,0)", "deaf"])
    assert chosen == "near (hw:1,0)"
    assert "Save it" not in shown  # it is what the file says


def test_another_one_may_be_wanted_and_not_be_kept(ask: Ask, config: Path) -> None:
    former = config.read_text()
    chosen, shown = ask("9", "3", "1", "n", there=["far (hw:2,0)", "near (hw:1,0)", "busy"])
    assert chosen == "far (hw:2,0)"
    assert shown.count("choose one from 1 to 3 that can be opened") == 2
    assert f'To save it, add this to {config}:\naudio:\n  device: "far"\n' in shown
    assert config.read_text() == former


def test_nobody_is_heard(ask: Ask) -> None:
    chosen, shown = ask(there=["deaf", "pulled out"])
    assert chosen is None
    assert shown.count("No microphone heard you: speak up, or check plugs and levels.") == 2
    assert "Continuing with the usual microphone." in shown


def test_a_script_is_never_asked(ask: Ask) -> None:
    assert ask(terminal=False) == (None, "")
    chosen, shown = ask(terminal=False, choose_microphone=True)
    assert chosen is None
    assert "not a terminal: --choose-microphone has no effect" in shown
    assert ask(device="2") == ("2", "")
    assert ask(there=["near (hw:1,0)"]) == (None, "")
    chosen, shown = ask(there=["near (hw:1,0)"], choose_microphone=True)
    assert "fewer than two microphones: nothing to choose" in shown


def test_where_nothing_can_be_kept(ask: Ask, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ["far (hw:2,0)", "near (hw:1,0)"]
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    shown = ask("", there=both)[1]
    assert "To save it, add this to" in shown
    assert "Save it" not in shown
    monkeypatch.undo()


def test_without_a_file_or_with_one_that_cannot_be_changed(
    ask: Ask, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ["far (hw:2,0)", "near (hw:1,0)"]
    monkeypatch.setattr("edge.cli.enrolling.find_config", lambda path: None)
    shown = ask("", there=both)[1]
    assert "To save it, add this to ~/.config/edge-voice/config.yaml:" in shown
    monkeypatch.setattr("edge.cli.enrolling.find_config", lambda path: config / "none")
    shown = ask("", there=both)[1]
    assert "Not saved: " in shown


def test_a_name_with_a_colon_is_kept_as_text(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    setting = as_setting("USB: Audio “2”")
    file.write_bytes(changed(b"audio: {ring_s: 20}\n", file, {"audio.device": setting}))
    assert load_config(file).audio.device == "USB: Audio “2”"
    assert stat.S_ISREG(file.stat().st_mode)
