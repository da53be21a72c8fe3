"""A scripted run says today what it said before names changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.golden.comparing import differences, golden
from tests.golden.renamed import Translation
from tests.golden.run import scripted_run


def discreet(lines: list[Any]) -> list[Any]:
    """The lines with what decisions no longer tell, and without the alarm's own entry."""
    kept: list[Any] = []
    for line in lines:
        entry, message = line.get("entry"), line.get("message")
        if isinstance(message, dict) and "scores" in message:
            message.update(phrase=None, scores={})
            if message["reason"] == "locked_out":
                message.update(utterance_s=0, quality=None, timings_ms={})
        if entry is not None:
            if entry["detail"].get("reason") == "locked_out":
                entry["detail"]["utterance_s"] = 0.0
            alarms = [each for each in kept if each.get("entry", {}).get("kind") == "duress"]
            alarm: Any = alarms[0] if alarms else {}
            if alarm and "decision" in alarm["entry"]["detail"]:  # of the decision that follows
                kept.remove(alarm)
                entry["kind"] = "duress"
            if any(each.get("entry", {}).get("kind") == "duress" for each in [*kept, line]):
                entry["seq"] -= "decision" not in entry["detail"]
        kept.append(line)
    return kept


def waiting(lines: list[Any]) -> list[Any]:
    """The lines as they are since an enrollment over MQTT waits to be confirmed."""
    for line in lines:
        message = line.get("message")
        if not isinstance(message, dict):
            continue
        for told in (message, message.get("enrollment")):
            if isinstance(told, dict) and told.get("state") == "complete":
                told.update(
                    state="unconfirmed", message="Ada is enrolled: now the owner must confirm it"
                )
        for person in (message.get("detail") or {}).get("people", []):
            person["unconfirmed"] = False
    return lines


_LATER = ("enroll_confirm", "/speaker/", "/utterance/", "/identification/")
"""Entities that came later; here they are withdrawn."""


def without_confirming(lines: list[Any]) -> list[Any]:
    """The lines without the entry on the confirmation, and without later entities."""
    kept: list[Any] = []
    confirmed = 0
    for line in lines:
        entry = line.get("entry")
        if entry is not None:
            entry["seq"] -= confirmed
            if entry["detail"].get("what") == "confirmed":
                confirmed += 1
                continue
        if not any(part in line.get("topic", "") for part in _LATER):
            kept.append(line)
    assert confirmed == 1
    return kept


_NEWER = {"joint_margin", "voice_margin", "phrase_margin", "level_dbfs", "snr_db"}
"""What the audit trail has of a decision since, and did not when the file was made."""
MEASURED = {
    "level_dbfs": 0.5, "noise_dbfs": 3.0, "snr_db": 3.0, "clipped_fraction": 0.0001,
    "net_speech_s": 0.1, "reverberation_s": 0.1, "utterance_s": 0.2,
}  # fmt: skip
"""What is measured depends a little on filters and on where speech is found to end."""


def test_a_scripted_run_says_the_same_today(tmp_path: Path) -> None:
    wanted = waiting(discreet(Translation().of(golden("run.jsonl"))))
    for message in (line.get("message") for line in wanted):
        # A minute, so that a busy machine drops no decision; it was five seconds.
        if isinstance(message, dict) and message.get("lifetime_s") == 5:
            message["lifetime_s"] = 60
            message["expires_at"] = message["expires_at"].replace("<5.0 s", "<60.0 s")
    found = without_confirming(list(scripted_run(tmp_path)))
    for entry in (line["entry"] for line in found if "entry" in line):
        entry["detail"] = {k: v for k, v in entry["detail"].items() if k not in _NEWER}
    assert differences(_counted_from_the_clock(wanted), found, 0.02, measured=MEASURED) == []


def _counted_from_the_clock(value: Any) -> Any:
    """Counters began with 1, and are milliseconds now."""
    if isinstance(value, dict):
        return {
            name: "<time>" if name == "counter" and inner else _counted_from_the_clock(inner)
            for name, inner in value.items()
        }
    return [_counted_from_the_clock(inner) for inner in value] if isinstance(value, list) else value
