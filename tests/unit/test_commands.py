"""Commands: what is carried out, what is refused, and that each refusal is accounted for."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.config import CommandsConfig, UnsignedConfig
from edge.crypto.canonical import wire
from edge.crypto.command_keys import CommandKey, Role, read_command_keys
from edge.crypto.signing import HmacKey, PrivateKey, signed
from edge.errors import ConfigError, ProfileError, StoreError
from edge.mqtt import CommandDesk, CommandFailed
from edge.mqtt.commands import CHOOSE, COMMANDS, Refused, read_command, read_unsigned, unix
from edge.mqtt.link import Incoming
from edge.mqtt.refusals import Refusals
from edge.mqtt.sending import command_message
from edge.store.state import DeviceState
from edge.types import Event, EventKind
from edge.types.decision import utc

OWNER = PrivateKey(bytes(range(32)), "owner-phone")
OPERATOR = HmacKey(b"o" * 32, "panel")
OBSERVER = HmacKey(b"v" * 32, "display")
STRANGER = PrivateKey(b"s" * 32, "owner-phone")
KEYS: dict[str, CommandKey] = {
    "owner-phone": CommandKey(OWNER.public, Role.OWNER),
    "panel": CommandKey(OPERATOR, Role.OPERATOR),
    "display": CommandKey(OBSERVER, Role.OBSERVER),
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "enrol_start": {"person": "Ada", "phrase": "what Ada says"},
    "disable": {"person": "Ada"},
    "enable": {"person": "Ada"},
    "delete": {"person": "Ada"},
    "reset": {"person": "Ada"},
}


COLLECTED_AT = time.time()
"""When the messages of the parametrized tests were made; it may be long ago when they are read."""


def keys_file(folder: Path) -> Path:
    file = folder / "command-keys.yaml"
    rows = [
        f"  - {{id: owner-phone, algorithm: ed25519, key: {OWNER.public.text}, role: owner}}",
        f"  - {{id: panel, algorithm: hmac-sha256, key: '{(b'o' * 32).hex()}', role: operator}}",
        f"  - {{id: display, algorithm: hmac-sha256, key: '{(b'v' * 32).hex()}', role: observer}}",
    ]
    file.write_text("keys:\n" + "\n".join(rows) + "\n")
    file.chmod(0o600)
    return file


def arrived(content: Any, suffix: str = "command", *, retained: bool = False) -> Incoming:
    payload = content if isinstance(content, bytes) else wire(content).encode()
    return Incoming(suffix, payload, retained)


def ordered(name: str = "ping", key: Any = OWNER, **changes: Any) -> dict[str, Any]:
    message = command_message(name, ARGUMENTS.get(name, {}), "hall", key)
    return signed({**message, **changes}, "command", key)


def read(message: Incoming) -> Any:
    return read_command(message, KEYS, device_id="hall", now=time.time(), allowance_s=5.0)


class Home:
    """A desk, and all that came of it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.done: list[tuple[str, Mapping[str, Any]]] = []
        self.events: list[Event] = []
        self.answers: list[Mapping[str, Any]] = []
        self.state = DeviceState(folder / "state")
        refusals = settings.pop("refusals", None)
        self.desk = CommandDesk(
            CommandsConfig(keys_file=keys_file(folder), **settings),
            "hall",
            self.state,
            {
                name: self._handler(name)
                for name in (*COMMANDS, CHOOSE)
                if name not in ("ping", "status")
            },
            record=self.events.append,
            answer=self.answers.append,
            refusals=refusals,
        )

    def _handler(self, name: str) -> Any:
        def handle(arguments: Mapping[str, Any]) -> Optional[Mapping[str, Any]]:
            self.done.append((name, arguments))
            return {"note": 1} if name == "lock_out" else None

        return handle

    @property
    def reasons(self) -> list[Any]:
        return [event.detail["reason"] for event in self.events]


# --- reading ---


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("key", [OWNER, OPERATOR, OBSERVER], ids=["owner", "operator", "observer"])
def test_roles(name: str, key: Any) -> None:
    looking = {"ping", "status", "list"}
    people = {*ARGUMENTS, "enrol_cancel", "reload"}
    may = {OWNER: set(COMMANDS), OPERATOR: set(COMMANDS) - people, OBSERVER: looking}[key]
    message = arrived(ordered(name, key))
    if name in may:
        command = read(message)
        assert (command.name, command.key_id) == (name, key.key_id)
        assert command.arguments == ARGUMENTS.get(name, {})
    else:
        with pytest.raises(Refused, match="not_allowed") as caught:
            read(message)
        assert caught.value.key_id == key.key_id


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (arrived(ordered(), retained=True), "retained"),
        (arrived(b"x" * 5000), "too_large"),
        (arrived(b"\xff"), "not_json"),
        (arrived(b"[]"), "not_an_object"),
        (arrived(b"{}"), "unsigned"),
        (arrived({"signature": {}}), "bad_form"),
        (arrived(ordered(key=STRANGER)), "bad_signature"),
        (arrived(ordered(key=HmacKey(b"o" * 32, "nobody"))), "unknown_key"),
        # The operator's key under the owner's name.
        (arrived(ordered(key=HmacKey(b"o" * 32, "owner-phone"))), "bad_signature"),
        (arrived(signed(command_message("ping", {}, "hall", OWNER), "decision", OWNER)),
         "bad_signature"),
        (arrived({**ordered(), "command": "lock_out"}), "bad_signature"),
        (arrived(ordered(device="back-door")), "other_device"),
        (arrived(ordered(device=None)), "other_device"),
        (arrived(ordered(issued_at=utc(time.time() + 100), expires_at=utc(time.time() + 110))),
         "not_yet"),
        (arrived(ordered(issued_at=utc(time.time() - 100), expires_at=utc(time.time() - 80))),
         "late"),
        (arrived(ordered(expires_at=utc(time.time() + 1000))), "bad_form"),
        (arrived(ordered(expires_at=utc(time.time() - 1000))), "bad_form"),
        (arrived(ordered(issued_at="now")), "bad_form"),
        (arrived(ordered(counter=0)), "bad_form"),
        (arrived(ordered(counter=True)), "bad_form"),
        (arrived(ordered(counter="1")), "bad_form"),
        (arrived(ordered(id="")), "bad_form"),
        (arrived(ordered(id="new\nline")), "bad_form"),
        (arrived(ordered(id=7)), "bad_form"),
        (arrived(ordered(more=1)), "bad_form"),
        (arrived(ordered(arguments=[])), "bad_form"),
        (arrived(ordered(command="open")), "unknown_command"),
        (arrived(ordered(command=7)), "unknown_command"),
        (arrived(ordered(arguments={"x": 1})), "bad_arguments"),
        (arrived(ordered("arm", arguments={"on": True})), "bad_arguments"),
        (arrived(ordered("enrol_start", arguments={})), "bad_arguments"),
        (arrived(ordered("enrol_start", arguments={"phrase": "x"})), "bad_arguments"),
        (arrived(ordered("enrol_start", arguments={"person": "Ada", "phrase": 1})),
         "bad_arguments"),
        (arrived(ordered("enrol_start", arguments={"person": "Ada", "phrase": "x" * 201})),
         "bad_arguments"),
        (arrived(ordered("enrol_start", arguments={"person": "Ada", "voice": True})),
         "bad_arguments"),
        (arrived(ordered("delete", arguments={"person": ""})), "bad_arguments"),
        (arrived(ordered("delete", arguments={"person": "x" * 65})), "bad_arguments"),
        (arrived(ordered("delete", arguments={"person": "A\u202eda"})), "bad_arguments"),
        (arrived(ordered("delete", arguments={"person": ["Ada"]})), "bad_arguments"),
        (arrived(ordered("enrol_person", arguments={"person": "Ada"})), "unknown_command"),
    ],
)  # fmt: skip
def test_what_is_refused(message: Incoming, reason: str) -> None:
    with pytest.raises(Refused, match=f"^{reason}$"):
        read_command(message, KEYS, device_id="hall", now=COLLECTED_AT, allowance_s=5.0)


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
        st.sampled_from([*COMMANDS, "hall", "owner-phone", "ed25519", utc(time.time())]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_are_a_command(payload: bytes, retained: bool) -> None:
    with pytest.raises(Refused):
        read(Incoming("command", payload, retained))
    with pytest.raises(Refused):
        read_unsigned(Incoming("set/x", payload, retained), UnsignedConfig(True, True, True))


@given(st.sampled_from(list(ordered())), JSON)
def test_any_member_may_be_anything(name: str, value: Any) -> None:
    genuine = ordered()
    message = {**genuine, name: value}
    assume(message != genuine)
    with pytest.raises(Refused):  # without a new signature nothing passes
        read(Incoming("command", json.dumps(message).encode(), retained=False))


@given(st.sampled_from(["id", "command", "arguments", "device", "counter", "issued_at"]), JSON)
def test_any_signed_member_may_be_anything(name: str, value: Any) -> None:
    try:
        message = ordered(**{name: value})
    except Exception:  # noqa: BLE001 (nothing that can be signed)
        return
    try:
        command = read(arrived(message))
    except Refused:
        return
    assert command.name in COMMANDS


@given(st.one_of(st.text(max_size=30), st.none(), st.integers()))
def test_any_text_may_be_a_time(text: Any) -> None:
    assert unix(text) is None


def test_times() -> None:
    assert unix("1970-01-01T00:00:10.250Z") == 10.25
    assert unix("1970-01-01T00:00:10Z") == 10.0
    assert unix("1970-02-30T00:00:10Z") is None
    assert unix("1970-01-01T00:00:10+01:00") is None
    assert unix("١٩٧٠-01-01T00:00:10Z") is None


# --- the file of keys ---


def test_keys_with_their_roles(tmp_path: Path) -> None:
    keys = read_command_keys(keys_file(tmp_path))
    assert {name: key.role for name, key in keys.items()} == {
        "owner-phone": Role.OWNER, "panel": Role.OPERATOR, "display": Role.OBSERVER
    }  # fmt: skip
    assert read_command_keys(None) == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("keys: x", "must be a list"),
        ("- x", "must be a group"),
        ("key: []", "unknown or repeated key"),
        ("keys:\n  - {id: a}", "algorithm is missing"),
        ("keys:\n  - {id: a, algorithm: rsa, key: x, role: owner}", "algorithm"),
        ("keys:\n  - {id: a, algorithm: ed25519, key: x, role: king}", "role"),
        ("keys:\n  - {id: a, algorithm: ed25519, key: x, role: owner}", "cannot be used"),
        ("keys:\n  - {id: a b, algorithm: hmac-sha256, key: '" + "ab" * 32 + "', role: owner}",
         "cannot be used"),
        ("keys:\n  - {id: [], algorithm: ed25519, key: x, role: owner}", "one line of text"),
        ("keys: &x []", "anchors"),
        ("keys: [", "not YAML"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file_of_keys(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=problem) as caught:
        read_command_keys(file)
    assert f"{file}:" in str(caught.value)
    assert "abab" not in str(caught.value)


@given(st.one_of(st.binary(max_size=200), JSON.map(lambda value: json.dumps(value).encode())))
def test_any_file_of_keys(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.yaml"
        file.write_bytes(data)
        file.chmod(0o600)
        with contextlib.suppress(ConfigError):
            assert read_command_keys(file) == {}


def test_a_file_of_keys_that_others_may_read(tmp_path: Path) -> None:
    file = keys_file(tmp_path)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_command_keys(file)


# --- the desk ---


def test_a_command_is_carried_out_answered_and_in_the_trail(tmp_path: Path) -> None:
    home = Home(tmp_path)
    message = ordered("lock_out", OPERATOR)
    home.desk.take(arrived(message))
    assert home.done == []  # not in the thread of the connection
    assert home.desk.work() == 1
    assert home.done == [("lock_out", {})]
    assert home.answers == [
        {"id": message["id"], "command": "lock_out", "ok": True, "reason": "done",
         "detail": {"note": 1}},
    ]  # fmt: skip
    (event,) = home.events
    assert event.kind is EventKind.COMMAND
    assert event.detail["key_id"] == "panel"
    assert event.detail["role"] == "operator"
    home.desk.take(arrived(ordered("delete")))
    home.desk.work()
    assert home.events[-1].detail["command"] == "delete"
    assert "Ada" not in str(home.events[-1])  # a name must not outlive the person


def test_repeated_and_reordered_also_after_a_restart(tmp_path: Path) -> None:
    home = Home(tmp_path)
    early, late = ordered("ping", counter=5), ordered("ping", counter=9)
    for message in (late, late, early):
        home.desk.take(arrived(message))
    home.desk.work()
    assert sorted(home.reasons) == ["done", "repeated", "repeated"]
    again = Home(tmp_path)
    for message in (late, early):
        again.desk.take(arrived(message))
    again.desk.take(arrived(ordered("ping", OPERATOR, counter=1)))  # another key's own numbers
    again.desk.work()
    assert sorted(again.reasons) == ["done", "repeated", "repeated"]


def test_the_number_is_kept_before_the_command_is_done(tmp_path: Path) -> None:
    home = Home(tmp_path)
    seen: list[Optional[str]] = []
    home.desk._handlers["lock_out"] = lambda _: seen.append(home.state.get("command/panel"))
    home.desk.take(arrived(ordered("lock_out", OPERATOR, counter=77)))
    home.desk.work()
    assert seen == ["77"]
    home.state.close()
    home.desk.take(arrived(ordered("lock_out", OPERATOR, counter=78)))
    home.desk.work()
    home.desk.work()
    assert seen == ["77"]
    assert home.reasons[-1] == "not_stored"


def test_what_a_handler_may_raise(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for count, (error, reason) in enumerate(
        (
            (ProfileError("no such profile: did you mean Ada (duress)?"), "no_such_person"),
            (StoreError("disk"), "failed"),
            (CommandFailed("not_locked_out"), "not_locked_out"),
            (RuntimeError("bug"), "failed"),
        )
    ):

        def fail(_: Mapping[str, Any], error: Exception = error) -> None:
            raise error

        home.desk._handlers["delete"] = fail
        home.desk.take(arrived(ordered("delete", counter=count + 1)))
        home.desk.work()
        assert home.answers[-1]["reason"] == reason
        assert "duress" not in str(home.answers[-1])
        assert home.events[-1].kind is EventKind.COMMAND
        assert home.events[-1].detail["ok"] is False
    home.desk.take(arrived(ordered("status", counter=100)))
    home.desk.work()
    assert home.answers[-1]["reason"] == "unsupported"


def test_unsigned_commands_are_off_until_each_is_allowed(tmp_path: Path) -> None:
    messages = [
        arrived(b"OFF", "set/listening"),
        arrived(b"PRESS", "set/lift_lockout"),
        arrived(b"PRESS", "set/lock_out"),
    ]
    (tmp_path / "one").mkdir()
    home = Home(tmp_path / "one")
    for message in messages:
        home.desk.take(message)
    home.desk.work()
    assert home.done == []
    assert home.reasons == ["switched_off"] * 3
    (tmp_path / "two").mkdir()
    home = Home(tmp_path / "two", unsigned=UnsignedConfig(listening=True))
    for message in (*messages, arrived(b"ON", "set/listening")):
        home.desk.take(message)
    for payload in (b"on", b"", b"OFF\n", b"\xff", b"1"):
        home.desk.take(arrived(payload, "set/listening"))
    home.desk.take(arrived(b"ON", "set/listening", retained=True))
    home.desk.take(arrived(b"ON", "set/delete"))
    home.desk.take(arrived(b"ON", "set/"))
    home.desk.work()
    assert home.done == [("disarm", {}), ("arm", {})]
    assert [event.detail["role"] for event in home.events if event.kind is EventKind.COMMAND] == [
        "unsigned", "unsigned",
    ]  # fmt: skip
    assert len(home.events) == 12
    assert home.answers == []


def test_an_unsigned_enrolment(tmp_path: Path) -> None:
    wanted = [
        arrived("Zoë".encode(), "set/enrol_person"),
        arrived(b"PRESS", "set/enrol"),
        arrived(b"PRESS", "set/enrol_cancel"),
        arrived(b"", "set/enrol_person"),
    ]
    (tmp_path / "shut").mkdir()
    home = Home(tmp_path / "shut")
    for message in wanted:
        home.desk.take(message)
    home.desk.work()
    assert home.done == []
    assert home.reasons == ["switched_off"] * 4
    (tmp_path / "open").mkdir()
    allowed = UnsignedConfig(enrol=True, enrol_cancel=True, enrol_person=True)
    home = Home(tmp_path / "open", unsigned=allowed)
    for message in wanted:
        home.desk.take(message)
    for message in (
        arrived(b"Ada", "set/enrol"),
        arrived(b"press", "set/enrol_cancel"),
        arrived(b"x" * 65, "set/enrol_person"),
        arrived("é".encode() * 129, "set/enrol_person"),
        arrived(b"Ada\nRobin", "set/enrol_person"),
        arrived(b"\xff", "set/enrol_person"),
    ):
        home.desk.take(message)
    home.desk.take(arrived(b"PRESS", "set/enrol", retained=True))
    home.desk.take(arrived(b"Ada", "set/enrol_person", retained=True))
    home.desk.work()
    assert home.done == [
        (CHOOSE, {"person": "Zoë"}), ("enrol_start", {}), ("enrol_cancel", {}),
        (CHOOSE, {"person": ""}),
    ]  # fmt: skip
    assert sorted(home.reasons) == ["bad_arguments"] * 6 + ["done"] * 4 + ["retained"] * 2
    assert "Zoë" not in str(home.events)


@given(st.one_of(st.binary(max_size=300), st.text(max_size=80).map(str.encode)))
def test_any_bytes_may_be_a_name(payload: bytes) -> None:
    allowed = UnsignedConfig(enrol_person=True)
    try:
        command = read_unsigned(Incoming("set/enrol_person", payload, retained=False), allowed)
    except Refused as refused:
        assert refused.reason == "bad_arguments"  # noqa: PT017 (most pass, some do not)
        return
    name = command.arguments["person"]
    assert len(name) <= 64
    assert name == name.strip()
    assert "\n" not in name
    assert payload.decode("utf-8").strip() == name


def test_what_must_not_be_in_the_trail(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.desk.take(arrived(ordered("enrol_start")))
    home.desk.work()
    assert home.done == [("enrol_start", {"person": "Ada", "phrase": "what Ada says"})]
    assert "Ada" not in str(home.events)


def test_a_flood_is_bounded_and_each_message_of_it_accounted_for(tmp_path: Path) -> None:
    home = Home(tmp_path, refusals=Refusals(burst=50, per_s=0.0, summary_s=0.2))
    for count in range(3000):
        home.desk.take(arrived(ordered(key=STRANGER) if count % 2 else b"garbage"))
    home.desk.work()
    time.sleep(0.3)
    home.desk.work()
    for _ in range(7):
        home.desk.take(arrived(b"more"))
    home.desk.close()
    single = [event for event in home.events if event.detail["reason"] != "flood"]
    floods = [event.detail for event in home.events if event.detail["reason"] == "flood"]
    assert len(single) == 50
    assert [flood["messages"] for flood in floods] == [2950, 7]
    assert floods[0]["messages_bad_signature"] == 1475
    assert floods[0]["messages_not_json"] == 1475
    assert len(home.answers) <= 8


def test_genuine_commands_pass_through_a_flood(tmp_path: Path) -> None:
    home = Home(tmp_path, refusals=Refusals(burst=5, per_s=0.0))
    for count in range(1000):
        home.desk.take(arrived(b"garbage"))
        if count % 250 == 0:
            home.desk.take(arrived(ordered("lock_out", counter=count + 1)))
    assert home.desk.work() == 4
    assert len(home.done) == 4


def test_more_commands_than_the_desk_takes(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for count in range(40):
        home.desk.take(arrived(ordered("lock_out", counter=count + 1)))
    done = [home.desk.work() for _ in range(6)]
    assert done == [8, 8, 8, 8, 0, 0]
    assert home.reasons.count("busy") == 8
    # What was turned away may come again, under its own number.
    home.desk.take(arrived(ordered("lock_out", counter=40)))
    assert home.desk.work() == 1


def test_what_waits_at_the_end_is_refused_and_said(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.desk.take(arrived(ordered("lock_out")))
    home.desk.close()
    assert home.done == []
    assert home.reasons == ["busy"]


def test_unsigned_presses_without_end(tmp_path: Path) -> None:
    home = Home(tmp_path, unsigned=UnsignedConfig(lock_out=True))
    for _ in range(100):
        home.desk.take(arrived(b"PRESS", "set/lock_out"))
        home.desk.work()
    assert len(home.done) <= 11
    assert home.reasons.count("too_many") >= 89


def test_an_audit_trail_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    def record(_: Event) -> None:
        raise StoreError("disk full")

    home = Home(tmp_path)
    home.desk._record = record
    home.desk.take(arrived(b"garbage"))
    home.desk.take(arrived(ordered("lock_out")))
    assert home.desk.work() == 1
    assert home.done


def test_damaged_counters_are_said(tmp_path: Path) -> None:
    state = DeviceState(tmp_path / "state")
    state.put("command/panel", "many")
    with pytest.raises(StoreError, match="panel"):
        Home(tmp_path)
