"""A scripted run says today what it said before names changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.golden.comparing import differences, golden
from tests.golden.renamed import Translation
from tests.golden.run import scripted_run


def test_a_scripted_run_says_the_same_today(tmp_path: Path) -> None:
    wanted = Translation().of(golden("run.jsonl"))
    for message in (line.get("message") for line in wanted):
        # A minute, so that a busy machine drops no decision; it was five seconds.
        if isinstance(message, dict) and message.get("lifetime_s") == 5:
            message["lifetime_s"] = 60
            message["expires_at"] = message["expires_at"].replace("<5.0 s", "<60.0 s")
    wanted = _counted_from_the_clock(wanted)
    assert differences(wanted, list(scripted_run(tmp_path)), tolerance=0.02) == []


def _counted_from_the_clock(value: Any) -> Any:
    """Counters began with 1, and are milliseconds now."""
    if isinstance(value, dict):
        return {
            name: "<time>" if name == "counter" and inner else _counted_from_the_clock(inner)
            for name, inner in value.items()
        }
    return [_counted_from_the_clock(inner) for inner in value] if isinstance(value, list) else value
