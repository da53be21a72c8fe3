"""A report read again, by a program that is about to change a door's settings because of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge.config.settings import FALSE_ACCEPT_PRESETS
from edge.errors import InputError
from edge.evaluation.report import JSON_NAME
from edge.evaluation.results import FORMAT, VERSION, Suggestion

_MAX_BYTES = 1024 * 1024
_MAX_TEXT = 2_000


def find_report(path: Path) -> Path:
    """The report that a path names: itself, or the one in a folder that `evaluate` wrote.

    Returns:
        Its path, or the path given where that is a folder without a report.
    """
    inside = path / JSON_NAME
    return inside if inside.is_file() else path


def read_suggestion(path: Path, speaker_model: str, phrase_model: str) -> Suggestion:
    """What a report suggests, if it is one of this software with these models.

    Args:
        path: the JSON file.
        speaker_model: SHA-256 of the speaker model in use.
        phrase_model: SHA-256 of the phrase model in use.

    Raises:
        InputError: it cannot be read, is no report, or was made with another model.
    """
    content = _load(path)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise _refused(path, "is not a report of this version of 'edge-voice evaluate'")
    for key, model in (("speaker_model", speaker_model), ("phrase_model", phrase_model)):
        if content.get(key) != model:
            what = key.replace("_", " ")
            raise _refused(path, f"was made with another {what} than the one in use")
    suggestion = content.get("suggestion")
    if not isinstance(suggestion, dict) or set(suggestion) != {"preset", "reason", "warnings"}:
        raise _refused(path, "holds no suggestion")
    preset, reason, warnings = (suggestion[key] for key in ("preset", "reason", "warnings"))
    texts = [preset, reason, *(warnings if isinstance(warnings, list) else [None])]
    # They are shown on a terminal: a control character could write there what it likes.
    if not all(
        isinstance(text, str) and len(text) <= _MAX_TEXT and text.isprintable() for text in texts
    ):
        raise _refused(path, "holds a suggestion that makes no sense")
    if preset not in FALSE_ACCEPT_PRESETS:
        raise _refused(path, f"suggests {preset[:40]!r}, which is no setting")
    return Suggestion(preset, reason, tuple(warnings))


def _load(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            raise _refused(path, "is no file")
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable name"
        raise InputError(f"{path}: cannot be read ({reason}); check it") from error
    if len(data) > _MAX_BYTES:
        raise _refused(path, "is too large for a report")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise _refused(path, "is not JSON") from None
    if not isinstance(content, dict):
        raise _refused(path, "is no report")
    return content


def _refused(path: Path, what: str) -> InputError:
    return InputError(f"{path}: {what}; make one with 'edge-voice evaluate'")
