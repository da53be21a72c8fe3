"""`edge-voice enroll NAME --voice --assistant ID`: enroll somebody who reads to a satellite."""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edge.cli import options
from edge.cli.output import flush, show, show_json
from edge.errors import EXIT_INPUT, EXIT_OK, EnvironmentFault, InputError

if TYPE_CHECKING:
    from edge.assistants.enrolling import ProgressBox

_LOOK_S = 0.2
_ANSWER_S = 12.0
"""Time for the server to take up a request; after that it has expired."""


def run(args: argparse.Namespace) -> int:
    """Have the server for assistants enroll somebody, and show how far it is."""
    from edge.assistants.enrolling import LOCK, PURPOSE, ProgressBox, request_box
    from edge.private_files import is_held
    from edge.service.enrollment_requests import Requested
    from edge.store import open_store
    from edge.store.device_state import DeviceState
    from edge.uptime import uptime

    config = options.config_of(args)
    assistant, known = args.assistant, config.wyoming.assistants
    _check_options(args)
    if assistant not in known:
        names = f"use one of {', '.join(known)}" if known else "wyoming.assistants has none"
        raise InputError(f"no such assistant: {assistant[:64]!r}; {names}")
    if not is_held(config.state_path / LOCK):
        raise EnvironmentFault(
            "the server for assistants does not run: start it (sudo systemctl start"
            " edge-voice-wyoming, or 'edge-voice wyoming')"
        )
    with open_store(config.state_path, settings=config.store) as store:
        key = store.derive_key(PURPOSE)
        state = DeviceState(config.state_path)
        try:
            requests = request_box(state, key, assistant)
            identity = secrets.token_hex(8)
            requests.put(Requested(identity, args.name, None, uptime()))
            try:
                last = _follow(args, ProgressBox(state, key, assistant), identity)
            except BaseException:
                requests.put(Requested(identity, "", None, uptime()))
                raise
            profile = store.get(args.name).as_dict() if last.get("done") else None
        finally:
            state.close()
    if last["state"] == "failed":
        raise InputError(last["message"])
    if args.json:
        show_json({"profile": profile, "state": last["state"]})
    return EXIT_OK if last["state"] == "complete" else EXIT_INPUT


def _follow(args: argparse.Namespace, progress: ProgressBox, identity: str) -> dict[str, Any]:
    """Show the news of an enrollment; its last ones."""
    from edge.assistants.enrolling import ENDS

    for told in _news(progress, identity):
        if not args.json and told["state"] != "failed":
            show(told["message"][:1].upper() + told["message"][1:] + ".")
            flush()
        if told["state"] in ENDS:
            return told
    raise EnvironmentFault(
        "the server for assistants does not answer: look at its log (journalctl -u"
        " edge-voice-wyoming)"
    )


def _news(progress: ProgressBox, identity: str) -> Iterator[dict[str, Any]]:
    """What is told of a request; ends where nothing ever is."""
    until_s = time.monotonic() + _ANSWER_S
    before = None
    while before is not None or time.monotonic() < until_s:
        told = progress.look()
        if told is not None and told.get("id") == identity and told != before:
            before = told
            yield told
        time.sleep(_LOOK_S)


def _check_options(args: argparse.Namespace) -> None:
    if not args.voice:
        raise InputError("--assistant needs --voice: a satellite enrolls the voice alone")
    for given, name in (
        (args.files, "files"),
        (args.short, "--short"),
        (args.again, "--again"),
        (args.device is not None, "--device"),
        (args.choose_microphone, "--choose-microphone"),
        (args.trial is not None, "--trial"),
    ):
        if given:
            raise InputError(f"{name} cannot be used with --assistant")
