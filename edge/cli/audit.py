"""`edge-voice audit`: what happened at the door, and whether the record of it is genuine."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import options
from edge.cli.output import (
    flush,
    new_table,
    one_line,
    printing,
    show,
    show_json,
    show_result,
    show_table,
)
from edge.errors import EXIT_OK, EXIT_REJECTED, EnvironmentFault, InputError, ProfileError
from edge.private_files import reason, write_file

if TYPE_CHECKING:
    from edge.store import ProfileStore
    from edge.store.audit_chain import AuditVerdict, Entry

HELP = "show, verify or export the record of what happened"

_HOW = (
    "Each line after this one is an entry. Its mac is HMAC-SHA256, under the device's audit key,"
    " of: the bytes 'edge-voice audit entry 1' and a zero byte; the mac before it (32 bytes; zeros"
    " before entry 1; after a removal by age the 'hash' in the detail of the newest 'retention'"
    " entry); and the JSON array [seq,time,kind,profile,detail] without spaces, in ASCII, with"
    " time in whole microseconds since 1970 and detail as the text given here. On the device:"
    " edge-voice audit verify --file FILE"
)
_LONGEST_LINE = 64 * 1024
"""Bytes; an exported entry has a few hundred, a few thousand at most."""
_MOST_SHOWN = 10
_UNITS = ("s", "ms")
_NOT_SHOWN = ("id", "hash", "joint_margin", "voice_margin", "phrase_margin", "level_dbfs", "snr_db")
"""Left to `--json`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and what each takes."""
    actions = options.add_actions(
        parser,
        ("show", "list what happened, the latest last", _show),
        ("verify", "look for edited, removed or swapped entries", _verify),
        ("export", "write all entries to a file, as JSON lines", _export),
    )
    shown, verify, export = actions.values()
    shown.add_argument(
        "--since", metavar="TIME", type=_time, help="from this time on: 2026-01-31, or with T18:30"
    )
    shown.add_argument("--until", metavar="TIME", type=_time, help="before this time")
    shown.add_argument("--kind", metavar="KIND", action="append", help="only this kind; repeatable")
    shown.add_argument("--person", metavar="NAME", help="only this person: a name or id")
    shown.add_argument(
        "--last",
        metavar="N",
        type=options.count,
        help="only the latest N (default: 50 on a terminal)",
    )
    verify.description = (
        "Looks for entries that were edited, removed or swapped after they were written. Exit code"
        " 0 if there are none, 1 with a line about each."
    )
    verify.add_argument(
        "--head",
        metavar="SEQ:HASH",
        help="a head noted or published earlier: everything up to it must still be there",
    )
    verify.add_argument("--file", metavar="FILE", type=Path, help="verify an exported file")
    export.description = (
        "Writes all entries as JSON lines with what is needed to verify them; the first line"
        " explains how. The key is not included."
    )
    export.add_argument("file", metavar="FILE", type=Path, help="a new file, or - for the output")


run = options.perform


def _show(args: argparse.Namespace) -> int:
    from edge.store.audit_file import FILE_NAME, reading
    from edge.types import EventKind

    config = options.config_of(args)
    kinds = {kind.value for kind in EventKind}
    for kind in args.kind or ():
        if kind not in kinds:
            raise InputError(f"unknown kind {kind!r}; use one of {', '.join(sorted(kinds))}")
    with options.store_of(args) as store:
        names = {profile.id: profile.name for profile in store.list()}
        person = _person(store, args.person) if args.person else None
    with reading(config.state_path / FILE_NAME) as found:
        entries = [
            entry
            for entry in found
            if (args.since is None or seconds_of(entry) >= args.since)
            and (args.until is None or seconds_of(entry) < args.until)
            and (not args.kind or entry.kind in args.kind)
            and (person is None or entry.profile_id == person)
        ]
    count = len(entries)
    last = args.last or (50 if sys.stdout is not None and sys.stdout.isatty() else None)
    entries = entries[-last:] if last else entries
    if args.json:
        shown = [{**entry.as_dict(), "detail": entry.details()} for entry in entries]
        show_json({"entries": shown, "found": count})
    elif not entries:
        show("No entries found.")
    else:
        if count > len(entries):
            show(f"The latest {len(entries)} of {count} entries; --last shows more.")
        print_table(entries, names)
    return EXIT_OK


def _verify(args: argparse.Namespace) -> int:
    from edge.store.audit_chain import Head, check

    expected = Head.parse(args.head) if args.head else None
    config = options.config_of(args)
    with options.store_of(args) as store, options.trail_of(store, config) as trail:
        if args.file is None:
            where, verdict = str(trail.path), trail.verify(expected)
        else:
            entries, head = read_export(args.file)
            where = str(args.file)
            verdict = check(entries, trail.key, anchor=head, expected=expected, anchored=False)
    value = {
        "file": where,
        "intact": verdict.intact,
        "findings": list(verdict.findings),
        "entries": verdict.entries,
        "first": verdict.first,
        "head": str(verdict.head),
        "removed_by_retention": verdict.removed,
    }
    show_result(args, value, *_verdict_lines(where, verdict))
    return EXIT_OK if verdict.intact else EXIT_REJECTED


def _verdict_lines(where: str, verdict: AuditVerdict) -> list[str]:
    if not verdict.intact:
        lines = [f"{where} is broken: {one_line(text)}." for text in verdict.findings[:_MOST_SHOWN]]
        more = len(verdict.findings) - len(lines)
        return [*lines, f"{where}: {more} more findings."] if more else lines
    extent = f"{verdict.entries} entries, {verdict.first} to {verdict.head.seq}"
    lines = [f"{where} is intact: {extent if verdict.entries else 'no entries yet'}."]
    if verdict.removed:
        lines.append(f"{verdict.removed} older entries were removed by retention, on the record.")
    return [*lines, f"Head, to note elsewhere: {verdict.head}"]


def _export(args: argparse.Namespace) -> int:
    from edge.store.audit_file import FILE_NAME, reading

    path = options.config_of(args).state_path / FILE_NAME
    with reading(path) as found:
        entries = list(found)
    last = entries[-1] if entries else None
    head = f"{last.seq}:{last.mac.hex()}" if last else None
    first = {"edge_voice_audit": 1, "entries": len(entries), "head": head, "how": _HOW}
    lines = [first, *(entry.as_dict() for entry in entries)]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    if str(args.file) == "-":
        with printing():
            sys.stdout.write(content)
        flush()
        return EXIT_OK
    try:
        write_file(args.file, content.encode("ascii"))
    except FileExistsError:
        raise InputError(f"{args.file} already exists: name a new file") from None
    except OSError as error:
        raise EnvironmentFault(f"{args.file} cannot be written: {reason(error)}") from None
    return show_result(
        args,
        {"file": str(args.file), "entries": len(entries), "head": head},
        f"{len(entries)} entries written to {args.file}. Head: {head or 'none yet'}",
    )


def read_export(file: Path) -> tuple[list[Entry], Any]:
    """The entries of an exported file, and the head that it names.

    Raises:
        InputError: it cannot be read, or has a line that `export` would not write: another spelling
            must not pass for what was signed.
    """
    from edge.store.audit_chain import Head

    try:
        if not file.is_file():  # opening a named pipe would wait for a writer
            raise InputError(f"{file} cannot be read: not a regular file")
        with file.open("rb") as lines:
            first = lines.readline(_LONGEST_LINE)
            if not first:
                raise InputError(f"{file} is empty: not an exported audit trail")
            number, head, entries = 1, None, []
            try:
                value = json.loads(first.decode("ascii"))
                if value["head"]:
                    head = Head.parse(value["head"])
                # A line that is too long arrives in pieces, none of which is a valid line.
                while line := lines.readline(_LONGEST_LINE):
                    number += 1
                    entries.append(_entry(json.loads(line.decode("ascii"))))
            except (ValueError, KeyError, TypeError, RecursionError, InputError):
                raise InputError(
                    f"{file}:{number}: not a line of an exported audit trail"
                ) from None
    except (OSError, ValueError) as error:
        why = (getattr(error, "strerror", None) or "not a usable name").lower()
        raise InputError(f"{file} cannot be read: {why}") from None
    return entries, head


def _entry(value: Any) -> Entry:
    """An exported entry. Raises ValueError, KeyError or TypeError if it is invalid."""
    from edge.store.audit_chain import Entry
    from edge.types.decision import microseconds_of

    seq, profile = value["seq"], value["profile"]
    texts = [value[name] for name in ("kind", "detail", "mac", "time")]
    if type(seq) is not int or abs(seq) >= 2**63:
        raise ValueError("invalid number")
    if not all(isinstance(text, str) for text in texts) or not isinstance(
        profile, (str, type(None))
    ):
        raise ValueError("invalid text")
    mac = bytes.fromhex(texts[2])
    return Entry(seq, microseconds_of(texts[3]), texts[0], profile, texts[1], mac)


def _person(store: ProfileStore, given: str) -> str:
    """The id of someone enrolled, or of someone no longer enrolled by the start of their id."""
    try:
        return store.find(given)[0]
    except ProfileError:
        from edge.store.audit_file import FILE_NAME, reading

        with reading(store.path.with_name(FILE_NAME)) as found:
            near = {str(e.profile_id) for e in found if str(e.profile_id).startswith(given)}
        if len(given) >= 8 and len(near) == 1:
            return near.pop()
        raise


def _time(text: str) -> float:
    """An argument that is a date, with or without a time, in this device's time zone."""
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"invalid time {text[:40]!r}; use 2026-01-31 or 2026-01-31T18:30"
        ) from None


def print_table(entries: list[Entry], names: dict[str, str]) -> None:
    """Print entries, with names instead of the ids of people who are enrolled."""
    from rich.text import Text

    table = new_table("ENTRY", "TIME", "WHAT", "WHO", "DETAIL")
    table.columns[0].justify = "right"
    for entry in entries:
        detail = entry.details()
        table.add_row(
            str(entry.seq),
            _when(entry),
            Text(one_line(str(entry.kind).replace("_", " ")), style=_style(entry.kind, detail)),
            Text(one_line(_who(entry.profile_id, names))),
            Text(one_line(_words(detail))),
        )
    show_table(table)


def seconds_of(entry: Entry) -> float:
    """Unix time; 0 for anything else, which a forger put there and `verify` reports."""
    return entry.time_us / 1e6 if isinstance(entry.time_us, int) else 0.0


def _when(entry: Entry) -> str:
    try:
        moment = datetime.fromtimestamp(seconds_of(entry)).astimezone()
    except (ValueError, OverflowError, OSError):
        return "?"
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def _style(kind: str, detail: dict[str, Any]) -> str:
    if kind == "decision":
        return "green" if detail.get("outcome") == "granted" else "yellow"
    alarming = ("duress", "tampering", "lock_out", "command_refused", "unwritten", "rollback")
    return "bold red" if kind in alarming else ""


def _who(profile_id: str | None, names: dict[str, str]) -> str:
    if profile_id is None:
        return ""
    return names.get(profile_id) or f"{str(profile_id)[:8]} (deleted)"


def _words(detail: dict[str, Any]) -> str:
    """The detail for people: plain words first, then named figures."""
    spoken = [
        str(detail.pop(name)).replace("_", " ")
        for name in ("outcome", "reason", "what")
        if isinstance(detail.get(name), str)
    ]
    return ", ".join(
        [*spoken, *(_figure(*item) for item in detail.items() if item[0] not in _NOT_SHOWN)]
    )


def _figure(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"{'' if value else 'not '}{name.replace('_', ' ')}"
    stem, _, unit = name.rpartition("_")
    if not (stem and unit in _UNITS):
        stem, unit = name, ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return " ".join(word for word in (stem.replace("_", " "), text, unit) if word)
