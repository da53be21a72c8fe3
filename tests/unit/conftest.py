"""Fixtures that unit tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.recognition import Engine
from edge.store import ProfileStore
from edge.types import ProfileKind
from tests.unit.stores import enroll, make_sample
from tests.unit.voices import the_engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    return the_engine()


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
