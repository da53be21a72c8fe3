"""Fixtures that many unit tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.audio import microphone, ring
from edge.audio.high_pass import HighPass
from edge.recognition import Engine
from edge.store import ProfileStore
from edge.types import Profile, ProfileKind
from tests.unit.sound_system import Clock, SoundSystem
from tests.unit.stores import enroll, make_sample, stretch_in_a_moment
from tests.unit.voices import enrolled, the_engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The recognizer with the models that come with the software."""
    return the_engine()


@pytest.fixture(scope="session")
def ada(engine: Engine) -> Profile:
    """Ada of the demo, enrolled with her phrase."""
    return enrolled(engine, "ada")


@pytest.fixture(scope="session")
def robin(engine: Engine) -> Profile:
    """Robin of the demo, enrolled with his phrase."""
    return enrolled(engine, "robin")


@pytest.fixture
def unfiltered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks have the samples that came in, for tests of where each of them goes."""
    monkeypatch.setattr(HighPass, "feed", lambda _, samples: samples)


@pytest.fixture
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passphrases are stretched in a moment."""
    stretch_in_a_moment(monkeypatch)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of this test's own, so that none of this machine's is read or changed."""
    file = tmp_path / "config.yaml"
    file.write_text("state_directory: state\n")
    monkeypatch.setenv("EDGE_VOICE_CONFIG", str(file))
    return file


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    path = tmp_path / "state" / "signatures.sqlite"
    with ProfileStore(path) as store:
        enroll(store, "Ada", 1, 2, 3)
        store.create("Grace", ProfileKind.VOICE, required=30)
        store.add_sample("Grace", make_sample(4, phrase=False, seconds=12.5), "5" * 64, "")
    return path


@pytest.fixture
def sound_system(monkeypatch: pytest.MonkeyPatch) -> SoundSystem:
    return SoundSystem.installed(monkeypatch)


@pytest.fixture
def sound_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of whoever listens to a microphone."""
    clock = Clock()
    clock.govern(monkeypatch, microphone, ring)
    return clock
