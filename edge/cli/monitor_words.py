"""What `edge-voice monitor` says in words, on a terminal and in plain lines."""

from __future__ import annotations

import time

from edge.monitor.recent import Recent, Row

_STATES = {
    "": ("waiting for the service", "yellow"),
    "gone": ("the service has stopped; waiting for it to come back", "bold yellow"),
    "starting": ("starting", "yellow"),
    "listening": ("listening", "green"),
    "off": ("switched off: nothing is listened to", "bold yellow"),
    "locked_out": ("locked out: nobody is let in", "bold red"),
    "asking": ("asks for digits", "bold cyan"),
    "enrolling": ("enrols", "bold cyan"),
    "no_microphone": ("no microphone", "bold red"),
}


def state_words(recent: Recent, now: float) -> tuple[str, str]:
    """What the device is at, and the style to say it in."""
    words, style = _STATES.get(recent.state, (recent.state, ""))
    fields = recent.fields
    if recent.state == "locked_out" and fields.get("until"):
        words += f" until {clock(fields['until'])} ({minutes(fields['until'] - now)} left)"
    if recent.state == "enrolling":
        words += f" {fields.get('person') or 'somebody'}"
        if fields.get("required"):
            words += f", {fields.get('done') or 0:.0f} of {fields['required']:.0f}"
    if recent.hearing and recent.state == "listening":
        return "hears somebody", "bold green"
    if recent.hearing and recent.state in {"asking", "enrolling", "locked_out"}:
        words += ", hears somebody"
    return words, style


def decision_words(row: Row, colour: str) -> list[tuple[str, str]]:
    """What came of an utterance, in parts with their styles."""
    if not row.outcome:
        return [("...", "dim")]
    parts = [(row.outcome, f"bold {colour}")]
    if row.reason != "accepted":
        parts.append((f" {row.reason}", ""))
    if row.name:
        parts.append((f" {row.name}" if row.granted else f" ({row.name})", ""))
    return parts


def sentence(row: Row) -> str:
    """An utterance and what came of it, as a line of its own."""
    parts = ["".join(words for words, _ in decision_words(row, ""))]
    parts[0] += f", {row.confidence} confidence" if row.confidence else ""
    if row.utterance_s is not None:
        parts.append(
            f"{row.utterance_s:.1f} s at {row.level_dbfs or 0:.0f} dB, SNR {row.snr_db or 0:.0f} dB"
        )
    if row.voice is not None and row.phrase is not None:
        parts.append(f"voice {margin(row.voice)}, phrase {margin(row.phrase)}")
    return f"{clock(row.at)}  {'; '.join(parts)}"


def counts(recent: Recent) -> str:
    """How often the door opened and did not, as a line of its own."""
    return f"{recent.device}: {recent.granted} granted, {recent.denied} denied"


def clock(at: float) -> str:
    """A Unix time by the clock on the wall."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def minutes(seconds: float) -> str:
    """A length of time for people."""
    seconds = max(0.0, seconds)
    if seconds < 100.0:
        return f"{seconds:.0f} s"
    if seconds < 6000.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3600.0:.0f} h" if seconds < 172800.0 else f"{seconds / 86400.0:.0f} days"


def margin(value: float | None) -> str:
    """By how much a score is over its threshold, with its sign."""
    return "" if value is None else f"{value:+.1f}"
