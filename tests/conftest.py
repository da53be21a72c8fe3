"""Fixtures that unit and integration tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def speech_folder() -> Path:
    """Folder of real speech (`EDGE_VOICE_SPEECH`, else ../shared/speech); skips where absent."""
    folder = Path(os.environ.get("EDGE_VOICE_SPEECH", REPOSITORY.parent / "shared" / "speech"))
    if not folder.is_dir():
        pytest.skip(f"no folder of real speech at {folder}; set EDGE_VOICE_SPEECH")
    return folder
