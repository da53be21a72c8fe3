"""The monitor's socket: who may look, what newcomers are told, and who is dropped."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.config import Config
from edge.config.settings import MonitorConfig
from edge.errors import EnvironmentFault
from edge.monitor.client import NoService, Stream, candidates, connect
from edge.monitor.messages import (
    decode,
    encode,
    enrollment_message,
    judgment_messages,
    level_message,
    state_message,
)
from edge.monitor.server import Address, History, MonitorServer, address_of
from edge.service.monitoring import Monitoring, state_of
from edge.service.observers import SoundLevel
from edge.types import ReasonCode
from tests.conftest import let_others_in
from tests.unit.judgments import judgment_of


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Address:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    return Address(tmp_path / "m", shared=False)


def serve(address: Address) -> MonitorServer:
    return MonitorServer(address, History("front-door", "Front door"))


def gather(stream: Stream, kind: str, timeout_s: float = 5.0) -> list[dict[str, Any]]:
    """What comes until a message of a kind has, that one included."""
    found: list[dict[str, Any]] = []
    until = time.monotonic() + timeout_s
    while not any(message["type"] == kind for message in found):
        assert time.monotonic() < until, found
        found += stream.wait(0.1)
    return found


def soon(condition: Any, timeout_s: float = 5.0) -> bool:
    until = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return bool(condition())


def test_a_newcomer_is_told_the_last_minutes_then_what_happens(address: Address) -> None:
    server = serve(address)
    try:
        server.post({"type": "level", "level_dbfs": -40.0})
        server.post({"type": "decision", "id": "1", "decision": "granted"})
        server.post(state_message("listening", enrolled=2))
        stream = Stream(connect([address.path]))
        told = gather(stream, "state")
        assert [message["type"] for message in told] == ["hello", "decision", "state"]
        assert told[0]["device"] == "front-door"
        assert (told[0]["granted"], told[0]["denied"]) == (1, 0)
        assert told[0]["levels_dbfs"][0] == -40.0
        assert told[1]["past"] is True
        # The same state again is not told again.
        server.post(state_message("listening", enrolled=2))
        server.post({"type": "decision", "id": "2", "decision": "denied"})
        assert [m["type"] for m in gather(stream, "decision")] == ["decision"]
        stream.close()
        assert soon(lambda: not server.watched)
    finally:
        server.close()
    assert list(address.path.parent.iterdir()) == []


def test_modes_are_for_the_owner_or_also_the_group(tmp_path: Path) -> None:
    for shared, mode in ((False, 0o600), (True, 0o660)):
        server = serve(Address(tmp_path / "m", shared=shared))
        assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == mode
        server.close()


def test_one_who_does_not_read_is_dropped_and_the_others_are_told(address: Address) -> None:
    server = serve(address)
    try:
        deaf = connect([address.path])
        stream = Stream(connect([address.path]))
        gather(stream, "hello")
        many = {"type": "decision", "id": "x" * 200, "decision": "denied"}
        seen: list[Any] = []

        def has_seen(number: int) -> bool:
            seen.extend(message.get("number") for message in stream.wait(0.1))
            return number in seen

        for number in range(600):
            server.post({**many, "number": number})
            if number % 20 == 0:  # and this one keeps up, however busy the machine is
                assert soon(lambda number=number: has_seen(number), 20.0)
        server.post({"type": "last"})
        assert gather(stream, "last")[-1]["type"] == "last"
        deaf.settimeout(5.0)
        received = 0
        while data := deaf.recv(65536):
            received += len(data)
        assert 0 < received < 600 * 250
        assert server.watched
    finally:
        server.close()


def test_so_many_may_watch_and_no_more(address: Address) -> None:
    server = serve(address)
    try:
        streams = [Stream(connect([address.path])) for _ in range(4)]
        for stream in streams:
            gather(stream, "hello")
        with pytest.raises(NoService, match="4 monitors are connected already"):
            gather(Stream(connect([address.path])), "hello")
    finally:
        server.close()


def test_what_a_client_says_ends_it(address: Address) -> None:
    server = serve(address)
    try:
        line = connect([address.path])
        line.setblocking(True)
        line.settimeout(5.0)
        assert line.recv(65536)
        line.sendall(b"open the door\n")
        try:
            while line.recv(65536):
                pass
        except ConnectionResetError:
            pass
        assert soon(lambda: not server.watched)
    finally:
        server.close()


def test_a_second_service_does_not_take_the_place_of_the_first(address: Address) -> None:
    first = serve(address)
    try:
        with pytest.raises(EnvironmentFault, match="used by another service"):
            serve(address)
        gather(Stream(connect([address.path])), "hello")
    finally:
        first.close()
    serve(address).close()


def test_what_a_killed_service_left_is_replaced(address: Address) -> None:
    text = (
        "import os, sys; from pathlib import Path\n"
        "from edge.monitor.server import OwnedSocket, Address\n"
        "owned = OwnedSocket(Address(Path(sys.argv[1]), False)); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", text, str(address.path)], check=False)
    assert address.path.is_socket()
    with pytest.raises(NoService, match="no service is running"):
        connect([address.path])
    server = serve(address)
    gather(Stream(connect([address.path])), "hello")
    server.close()
    assert not address.path.exists()


def test_a_file_in_the_way_is_left_alone(address: Address) -> None:
    address.path.write_text("mine")
    with pytest.raises(EnvironmentFault, match="is not a socket; remove it"):
        serve(address)
    assert address.path.read_text() == "mine"


@pytest.mark.parametrize("name", ["x" * 120, "no/such/folder"])
def test_a_place_that_cannot_be_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(EnvironmentFault, match=r"too long for a socket|No such file"):
        serve(Address(tmp_path / name, shared=False))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused_twice(tmp_path: Path) -> None:
    """By the socket's mode; and where that was changed, by who the kernel says it is."""
    let_others_in(tmp_path)
    address = Address(tmp_path / "m", shared=True)
    server = serve(address)
    text = (
        "import os, sys; from pathlib import Path; from edge.monitor.client import *\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: print([m['type'] for m in Stream(connect([Path(sys.argv[1])])).wait(5.0)])\n"
        "except NoService as error: print(error)\n"
    )
    command = [sys.executable, "-c", text, str(address.path)]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "sudo usermod -aG edge-voice" in told.stdout, told.stderr
        address.path.chmod(0o666)
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "only root, the service's own user and its group" in told.stdout, told.stderr
        # A member of the group may look.
        member = [*command]
        member[2] = text.replace("os.setgroups([])", f"os.setgroups([{os.getegid()}])")
        told = subprocess.run(member, capture_output=True, text=True, check=False)
        assert "hello" in told.stdout, told.stderr
    finally:
        server.close()


def test_a_restart_is_told_and_outlived(address: Address) -> None:
    server = serve(address)
    stream = Stream(connect([address.path]), lambda: connect([address.path]))
    gather(stream, "hello")
    server.close()
    assert gather(stream, "gone")[-1] == {"type": "gone"}
    assert stream.wait(0.6) == []
    again = serve(address)
    assert gather(stream, "hello")[0]["type"] == "hello"
    again.close()


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    config = Config(state_directory=tmp_path)
    assert address_of(config) == Address(tmp_path / "monitor.sock", shared=False)
    assert candidates(config) == [tmp_path / "monitor.sock", Path("/run/edge-voice/monitor.sock")]
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/edge-voice:/run/other")
    assert address_of(config) == Address(Path("/run/edge-voice/monitor.sock"), shared=True)
    named = replace(config, monitor=MonitorConfig(socket=tmp_path / "here"))
    assert address_of(named) == Address(tmp_path / "here", shared=True)
    assert candidates(named) == [tmp_path / "here"]


def test_lines_are_bounded_and_checked(address: Address) -> None:
    assert decode(b"[1]") is None
    assert decode(b'{"type": 1}') is None
    assert decode(b"[" * 100_000) is None
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = Stream(ours)
    theirs.sendall(b"nonsense\n" + encode({"type": "hello"}))
    assert stream.wait(1.0) == [{"type": "hello"}]
    theirs.settimeout(5.0)
    sent = 0
    while not stream.ended:
        try:
            sent += theirs.send(b"x" * 8192)
        except BrokenPipeError:
            break
        stream.wait(0.1)
    assert 65_536 < sent <= 3 * 65_536


def test_what_a_newcomer_is_told_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.2]
    monkeypatch.setattr("edge.monitor.server.time.monotonic", lambda: now[0])
    history = History("front-door", "Front door")
    assert history.replay()[0]["levels_dbfs"] == [None]
    for second, level in ((1000.3, -50.0), (1000.9, -40.0), (1000.95, -60.0), (1002.1, -30.0)):
        now[0] = second
        history.add(level_message(level, level, hearing=False))
    assert history.replay()[0]["levels_dbfs"] == [-40.0, None, -30.0]
    now[0] = 1299.9  # five minutes, this second included
    assert len(history.replay()[0]["levels_dbfs"]) == 300
    now[0] = 1300.0
    assert history.replay()[0]["levels_dbfs"][:3] == [None, -30.0, None]
    for number in range(70):
        history.add({"type": "decision", "id": number, "decision": "denied"})
    hello, *past = history.replay()
    assert [message["id"] for message in past] == list(range(10, 70))
    assert (hello["denied"], hello["granted"]) == (70, 0)
    assert history.add(state_message("off"))
    assert not history.add(state_message("off"))
    assert history.add(state_message("listening"))
    assert history.replay()[-1] == {"type": "state", "state": "listening"}


def test_messages_say_no_more_than_was_published() -> None:
    judgment = judgment_of(ReasonCode.WRONG_PHRASE)
    decision = replace(
        judgment.decision, timings_ms={"endpoint": 600.04, "decide": 80.0}, utterance_s=2.346
    )
    utterance, decided = judgment_messages(replace(judgment, decision=decision))
    assert decided["took_ms"] == 680.0
    assert utterance["utterance_s"] == 2.35
    assert (decided["decision"], decided["reason"]) == ("denied", "wrong_phrase")
    silent = replace(judgment.utterance, samples=judgment.utterance.samples[:0])
    assert len(judgment_messages(replace(judgment, utterance=silent))) == 1
    unmeasured = replace(judgment, decision=replace(decision, quality=None))
    assert len(judgment_messages(unmeasured)) == 1
    level = level_message(-23.456, -8.04, hearing=True)
    assert (level["level_dbfs"], level["peak_dbfs"], level["hearing"]) == (-23.5, -8.0, True)


def test_a_newcomer_is_told_the_latest_enrollment_alone() -> None:
    history = History("front-door", "Front door")

    def steps() -> list[str]:
        return [each["state"] for each in history.replay() if each["type"] == "enrollment"]

    for state in ("measuring", "measuring", "room", "started", "accepted", "unconfirmed", "over"):
        assert history.add(enrollment_message({"state": state, "person": "Ada"}))
    assert steps() == [
        "measuring", "measuring", "room", "started", "accepted", "unconfirmed", "over",
    ]  # fmt: skip
    assert all(each["past"] for each in history.replay() if each["type"] == "enrollment")
    history.add(enrollment_message({"state": "started", "person": "Robin"}))  # over MQTT
    assert steps() == ["started"]
    history.add(enrollment_message({"state": "measuring", "person": "Ada"}))
    assert steps() == ["measuring"]


def test_what_is_reported_of_an_enrollment_is_told_before_the_state(address: Address) -> None:
    observer = monitoring(address, {"microphone": "listening", "enrolling": True, "enrollment": {
        "state": "unconfirmed", "person": "Ada", "done": 3, "required": 3, "message": "enrolled",
    }})  # fmt: skip
    told = observer._enrollment.told
    told.append({"state": "trying", "person": "Ada", "message": "once more"})
    observer.tick()
    stream = Stream(connect([address.path]))
    step, state = gather(stream, "state")[-2:]
    assert (step["type"], step["state"], step["message"]) == ("enrollment", "trying", "once more")
    assert state["state"] == "enrolling"  # a trial goes on, and nobody can open
    assert not told
    observer.close()


def test_a_path_may_be_as_long_as_the_kernel_takes(tmp_path: Path) -> None:
    room = 107 - len(os.fsencode(tmp_path)) - 1
    serve(Address(tmp_path / ("x" * room), shared=False)).close()
    with pytest.raises(EnvironmentFault, match="too long for a socket"):
        serve(Address(tmp_path / ("x" * (room + 1)), shared=False))


QUIET = SoundLevel(512, 0.0, 0.0, 0.0)


def monitoring(address: Address, status: dict[str, Any]) -> Monitoring:
    config = Config(monitor=MonitorConfig(socket=address.path))
    publisher: Any = SimpleNamespace(status=status)
    silent: Any = SimpleNamespace(speaking=False, pending=False, told=deque())
    return Monitoring(config, publisher, silent, silent, silent)


def test_the_service_tells_what_it_hears_and_decides(address: Address) -> None:
    observer = monitoring(address, {"microphone": "listening", "enrolled": 1})
    observer.level(QUIET)  # nobody can watch yet
    assert not observer.live
    observer.tick()
    stream = Stream(connect([address.path]))
    gather(stream, "state")
    judgment = judgment_of(ReasonCode.RECOGNIZED)
    scores = {"joint": 9.0, "joint_threshold": 6.5, "voice": 4.0, "voice_threshold": 3.5}
    judgment = replace(judgment, decision=replace(judgment.decision, scores=scores))
    observer.tick()
    assert observer.live
    observer.level(SoundLevel(512, 5.12, 0.01, 0.1))
    observer.decided(judgment)
    level, heard, decision = gather(stream, "decision")
    assert (level["level_dbfs"], level["peak_dbfs"], level["hearing"]) == (-20.0, -20.0, False)
    assert heard["id"] == decision["id"] == "an id"
    assert heard["snr_db"] > 20.0
    assert decision["joint_margin"] == 2.5
    assert decision["voice_margin"] == 0.5
    assert "phrase_margin" not in decision
    # Neither the phrase in writing, nor what a signature is made of.
    assert "mellon" not in str((heard, decision))
    observer.close()
    assert not address.path.exists()


def test_a_service_that_cannot_be_watched_goes_on_and_says_so(
    address: Address, caplog: pytest.LogCaptureFixture
) -> None:
    address.path.mkdir()
    observer = monitoring(address, {})
    observer.tick()
    observer.tick()
    observer.level(QUIET)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"edge-voice monitor cannot watch this service: {address.path}: exists and is not a"
        " socket; remove it"
    )
    # Once the path is free, the socket is opened.
    address.path.rmdir()
    observer.tick()
    gather(Stream(connect([address.path])), "state")
    observer.close()


@pytest.mark.parametrize(
    ("status", "asking", "state"),
    [
        ({}, False, "starting"),
        ({"microphone": "listening"}, False, "listening"),
        ({"microphone": "listening"}, True, "asking"),
        ({"microphone": "lost", "reason": "unplugged"}, True, "no_microphone"),
        ({"microphone": "listening", "listening": False}, True, "off"),
        ({"microphone": "listening", "locked_out": True}, True, "locked_out"),
        ({"enrollment": {"state": "refused", "person": "Ada"}, "locked_out": True}, False,
         "enrolling"),
        ({"microphone": "listening", "enrollment": {"state": "complete"}}, False, "listening"),
    ],
)  # fmt: skip
def test_what_the_device_is_at(status: dict[str, Any], asking: bool, state: str) -> None:
    assert state_of(status, asking=asking)["state"] == state
