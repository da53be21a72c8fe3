"""Traces the functions of edge/ that a block of sound goes through, from source to decision.

    python tools/trace_calls.py FOLDER

FOLDER is a checkout with `edge/`; it may be another revision. The service is the real one, without
MQTT; it receives silence and then one of the demo's people. The figures are printed as JSON.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import soundfile

_RATE = 16_000
_SILENCE_S = 3.0
"""Seconds before speech, while the service reads the profiles, and after it."""
_COUNTED_S = 1.0
"""The part of the silence at the end that counts; before it the end-pointer waits."""


class Calls:
    """The called functions of a package, in order.

    Args:
        package: the folder of the package.
    """

    def __init__(self, package: Path) -> None:
        self._prefix = f"{package}{os.sep}"
        self._functions: list[tuple[str, str, int]] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """For `sys.setprofile`."""
        code = frame.f_code
        # Comprehensions and class bodies are calls in some versions of Python only.
        comprehension = code.co_name.startswith("<") and code.co_name != "<lambda>"
        if event == "call" and code.co_filename.startswith(self._prefix) and not comprehension:
            file = code.co_filename.removeprefix(self._prefix)
            self._functions.append((file, code.co_name, code.co_firstlineno))

    def figures(self) -> dict[str, int]:
        """The numbers of calls, functions and files, and of changes from one to the next."""
        files = [file for file, _, _ in self._functions]
        rooms = [Path(file).parts[0] for file in files]
        return {
            "calls": len(files),
            "functions": len(set(self._functions)),
            "files": len(set(files)),
            "changes of file": _changes(files),
            "changes of package": _changes(rooms),
        }


class TracedSource:
    """A source of blocks that records the calls between one block and the next.

    Args:
        source: where the blocks come from.
        package: the folder of the package whose calls count.

    Attributes:
        blocks_done: the calls that each block caused.
    """

    def __init__(self, source: Any, package: Path) -> None:
        self._source = source
        self._package = package
        self.blocks_done: list[Calls] = []

    def __enter__(self) -> TracedSource:
        self._source.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._source.__exit__(*error)

    def close(self) -> None:
        """Have the source end, where it can be closed."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()

    def blocks(self) -> Iterator[Any]:
        """The blocks of the source; traces the thread that takes them."""
        for block in self._source.blocks():
            calls = Calls(self._package)
            self.blocks_done.append(calls)
            sys.setprofile(calls)
            yield block
            sys.setprofile(None)


def trace(tree: Path, folder: Path) -> dict[str, dict[str, int]]:
    """Enroll a person of the demo and feed the service silence and then the person.

    Args:
        tree: a checkout; `edge` is imported from it.
        folder: for configuration and state; empty.

    Returns:
        The figures of a typical block of silence, and of the block with the decision.

    Raises:
        RuntimeError: the person was not let in.
    """
    file_source = _found("edge.audio.sources:FileSource")
    load_config = _found("edge.config:load_config")
    # Present and former names of what makes the service.
    build_service = _found("edge.service:build_service", "edge.daemon:Daemon")

    recordings = tree / "edge" / "demo" / "recordings"
    person = next(recordings.glob("ada_enrol*_1.flac"))
    config = folder / "config.yaml"
    config.write_text(f"mqtt:\n  enabled: false\nstate_directory: {folder / 'state'}\n")
    said = sorted(map(str, recordings.glob(person.name.replace("_1.", "_?."))))
    command = [sys.executable, "-m", "edge.cli", "enroll", "Ada", "--config", str(config), *said]
    subprocess.run(command, check=True, cwd=tree, stdout=subprocess.DEVNULL)
    samples, _ = soundfile.read(recordings / "ada_right_phrase.flac", dtype="float32")
    sound = np.concatenate([_silence(), samples, _silence()])
    soundfile.write(folder / "sound.wav", sound, _RATE, subtype="PCM_16")

    source = TracedSource(file_source(folder / "sound.wav", realtime=True), tree / "edge")
    decided: list[tuple[int, Any]] = []
    service = build_service(
        load_config(config),
        source=source,
        on_decision=lambda decision: decided.append((len(source.blocks_done), decision)),
    )
    service.run()
    if not decided or not decided[0][1].granted:
        raise RuntimeError(f"a person of the demo was not let in: {decided}")
    per_second = len(source.blocks_done) / (len(sound) / _RATE)
    silent = source.blocks_done[-int(_COUNTED_S * per_second) :]
    by_calls = sorted((calls.figures() for calls in silent), key=lambda each: each["calls"])
    return {
        "silence": by_calls[len(by_calls) // 2],
        "decision": source.blocks_done[decided[0][0] - 1].figures(),
    }


def _found(*names: str) -> Any:
    """The first MODULE:NAME that exists in the traced tree."""
    for name in names:
        module, _, member = name.partition(":")
        if importlib.util.find_spec(module) is not None:
            return getattr(importlib.import_module(module), member)
    raise RuntimeError(f"there is none of {', '.join(names)}")


def _silence() -> Any:
    """Three seconds of a quiet room."""
    noise = np.random.default_rng(1).standard_normal(int(_SILENCE_S * _RATE))
    return (1e-3 * noise).astype(np.float32)


def _changes(values: list[str]) -> int:
    return sum(one != other for one, other in itertools.pairwise(values))


if __name__ == "__main__":
    _tree = Path(sys.argv[1]).resolve()
    # The tree's own package, even if another one is installed.
    sys.path[0] = str(_tree)
    with tempfile.TemporaryDirectory() as _folder:
        print(json.dumps(trace(_tree, Path(_folder))))
