"""Fixtures that unit and integration tests share."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.remembered import remember

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("edge-voice", deadline=None, max_examples=50)
settings.load_profile("edge-voice")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever starts the tests in the background has Ctrl-C ignored, and every process of theirs
    # would inherit that; the tests send it to the command line.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # The same under nohup, of the signal to reload. These tests go on; their processes get it.
    signal.signal(signal.SIGHUP, lambda *_: None)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """A command that runs in this process sets up the log; no later test finds that."""
    root, own = logging.getLogger(), logging.getLogger("edge")
    level, handlers = root.level, set(root.handlers)
    own_level, propagates = own.level, own.propagate
    yield
    root.setLevel(level)
    own.setLevel(own_level)
    own.propagate = propagates
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in handlers:
            root.removeHandler(handler)


@pytest.fixture(scope="session", autouse=True)
def remembered() -> Iterator[None]:
    """Each model computes an answer once in a process."""
    with pytest.MonkeyPatch.context() as patch:
        remember(patch)
        yield


@pytest.fixture(scope="session")
def speech_folder() -> Path:
    """Folder of real speech (`EDGE_VOICE_SPEECH`, else ../shared/speech); skips where absent."""
    folder = Path(os.environ.get("EDGE_VOICE_SPEECH", REPOSITORY.parent / "shared" / "speech"))
    if not folder.is_dir():
        pytest.skip(f"no folder of real speech at {folder}; set EDGE_VOICE_SPEECH")
    return folder


def let_others_in(folder: Path) -> None:
    """Let every user look into a temporary folder, and into those that it lies in."""
    for each in (folder, *folder.parents):
        if each == Path(tempfile.gettempdir()):
            break
        each.chmod(0o755)
