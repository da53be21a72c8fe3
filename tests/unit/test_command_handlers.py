"""What commands do, where a running service shows little of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.access.lockout import LockOut
from edge.config import Config, LockOutConfig
from edge.crypto.canonical import read_message, wire
from edge.errors import ConfigError, ProfileError
from edge.mqtt import CommandFailed
from edge.service.command_handlers import CommandHandlers
from edge.service.context import ListeningSwitch, RunControl, ServiceContext
from edge.store import ProfileStore, open_store
from edge.store.device_state import DeviceState
from edge.types import EventKind, ProfileKind, ProfileStatus
from tests.unit.stores import PHRASE_MODEL, SPEAKER_MODEL, make_sample


class Ignored:
    """Stands for what a test does not look at."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ProfileStore]:
    with open_store(tmp_path) as opened:
        yield opened


def handlers_of(
    store: ProfileStore, folder: Path, reread: Any = None, *, lockout: bool = True
) -> Any:
    ignored: Any = Ignored()
    context = ServiceContext(
        Config(), store, ignored, ignored, ignored, ignored, ignored, ListeningSwitch(ignored),
        RunControl(reread),
    )  # fmt: skip
    counted = LockOut(
        LockOutConfig(enabled=lockout), DeviceState(folder), record=lambda _: None,
        changed=lambda _: None,
    )  # fmt: skip
    return CommandHandlers(context, counted, ignored, ignored, ignored).handlers()


def enroll(store: ProfileStore, name: str, duress_of: str | None = None) -> str:
    return store.create(
        name,
        ProfileKind.PHRASE,
        "what opens the door",
        required=1,
        samples=[make_sample()],
        speaker_model=SPEAKER_MODEL,
        phrase_model=PHRASE_MODEL,
        duress_of=duress_of,
    ).id


def waiting(store: ProfileStore, name: str) -> str:
    return store.create(
        name, ProfileKind.PHRASE, required=1, samples=[make_sample()], speaker_model=SPEAKER_MODEL,
        phrase_model=PHRASE_MODEL, confirmed=False,
    ).id  # fmt: skip


def test_the_list_tells_no_phrase_and_of_no_second_one(store: ProfileStore, tmp_path: Path) -> None:
    ada = enroll(store, "Ada")
    enroll(store, "Ada (duress)", duress_of=ada)
    detail = handlers_of(store, tmp_path)["list"]({})
    assert detail == {
        "people": [
            {
                "profile_id": ada, "name": "Ada", "kind": "phrase", "complete": True,
                "unconfirmed": False, "samples": 1, "required": 1.0, "remaining": 0.0,
                "enabled": True,
            }
        ],
        "more": 0,
    }  # fmt: skip
    assert "opens" not in str(detail)


@pytest.mark.parametrize("command", ["delete", "reset", "disable", "enable", "enroll_confirm"])
def test_a_duress_phrase_is_not_a_person(command: str, store: ProfileStore, tmp_path: Path) -> None:
    """Neither by its name nor by its id: the answer is that for a name which nobody has."""
    second = enroll(store, "Ada (duress)", duress_of=enroll(store, "Ada"))
    before = store.get(second).as_dict()
    for person in ("Ada (duress)", second, "Robin (duress)"):
        with pytest.raises(ProfileError):
            handlers_of(store, tmp_path)[command]({"person": person})
    assert store.get(second).as_dict() == before


def test_a_long_list_still_fits_into_a_message(store: ProfileStore, tmp_path: Path) -> None:
    for number in range(52):
        enroll(store, f"{number:03d}".ljust(64, "é"))
    detail = handlers_of(store, tmp_path)["list"]({})
    assert (len(detail["people"]), detail["more"]) == (50, 2)
    message = wire({"id": "x", "ok": True, "detail": detail}).encode()
    assert read_message(message, 32768)["detail"]["more"] == 2


def test_what_is_switched_off(store: ProfileStore, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="switched_off"):
        handlers_of(store, tmp_path, lockout=False)["lock_out"]({})
    assert handlers_of(store, tmp_path)["lock_out"]({})["locked_out"] is True
    assert "reload" not in handlers_of(store, tmp_path)


class Device:
    """What commands do to the parts of a service, in the order in which they do it."""

    def __init__(self, store: ProfileStore, folder: Path, able: int = 2) -> None:
        self.done: list[Any] = []
        self.to_confirm = ""
        note = self.done.append
        publisher: Any = SimpleNamespace(set_status=lambda **fields: note(fields))
        profiles: Any = SimpleNamespace(refresh=lambda: note("read again"))
        trail: Any = SimpleNamespace(
            record=lambda event: note((event.kind, event.detail, event.profile_id)),
            head=lambda: "7:abc",
        )
        ignored: Any = Ignored()
        context = ServiceContext(
            Config(), store, ignored, profiles, publisher, ignored, trail,
            ListeningSwitch(publisher), RunControl(),
        )  # fmt: skip
        enrollment: Any = SimpleNamespace(
            running=True,
            start=None,
            choose=None,
            cancel=lambda *reason: note(("cancel", *reason)),
            changed=lambda profile: note(("changed", profile.name)),
            to_confirm=lambda: self.to_confirm,
            enrolled_twice=lambda _: True,
        )
        policy: Any = SimpleNamespace(count_able=lambda: able, demand=lambda: note("demand"))
        switch: Any = SimpleNamespace(available=True, set=lambda on: note(("identifying", on)))
        self.switch = switch
        lockout = LockOut(
            LockOutConfig(), DeviceState(folder), record=lambda _: None, changed=lambda _: None
        )
        self.handlers = CommandHandlers(context, lockout, enrollment, policy, switch).handlers()

    def __call__(self, command: str, **arguments: Any) -> Any:
        self.done.clear()
        return self.handlers[command](arguments)


def test_whether_it_listens(store: ProfileStore, tmp_path: Path) -> None:
    device = Device(store, tmp_path)
    assert device("disarm") == {"listening": False}
    assert device.done == [("cancel", "not_listening"), {"listening": False}]
    status = device("status")
    assert (status["listening"], status["enrolling"], status["locked_out"]) == (False, True, False)
    assert status["audit_head"] == "7:abc"
    assert device("arm") == {"listening": True}
    assert device.done == [{"listening": True}]
    assert device("status")["listening"] is True


def test_whether_it_identifies(store: ProfileStore, tmp_path: Path) -> None:
    device = Device(store, tmp_path)
    assert device("identify_stop") == {"identifying": False}
    assert device("identify_start") == {"identifying": True}
    assert device.done == [("identifying", True)]
    device.switch.available = False
    with pytest.raises(CommandFailed, match="switched_off") as caught:
        device("identify_start")
    assert caught.value.message == "identification.enabled is off in the configuration"
    assert device.done == []


def test_a_voice_alone_is_given_no_door(store: ProfileStore, tmp_path: Path) -> None:
    device = Device(store, tmp_path)
    kim = store.create("Kim", ProfileKind.VOICE, required=30.0)
    for command in ("enable", "disable"):
        with pytest.raises(CommandFailed, match="opens_nothing") as caught:
            device(command, person="Kim")
        assert caught.value.message.startswith("Kim was enrolled by voice alone")
    assert device.done == []
    assert store.get(kim.id).rule.enabled


def test_a_challenge_is_demanded_only_where_somebody_can_answer(
    store: ProfileStore, tmp_path: Path
) -> None:
    device = Device(store, tmp_path, able=1)
    assert device("challenge") == {"people_who_can_answer": 1, "lasts_s": 300.0}
    assert device.done == ["demand"]
    device = Device(store, tmp_path, able=0)
    with pytest.raises(CommandFailed, match="nobody_can_answer"):
        device("challenge")
    assert device.done == []


def test_what_is_done_to_a_person_is_known_at_once_and_on_record(
    store: ProfileStore, tmp_path: Path
) -> None:
    device = Device(store, tmp_path)
    ada = enroll(store, "Ada")
    second = enroll(store, "Ada (duress)", duress_of=ada)
    for command, enabled in (("disable", False), ("enable", True)):
        assert device(command, person="ada") == {"profile_id": ada, "enabled": enabled}
        assert store.get(ada).rule.enabled is enabled
        assert device.done == [
            "read again", (EventKind.CHANGE, {"enabled": enabled, "by": "command"}, ada),
        ]  # fmt: skip
    assert device("reset", person="Ada") == {"profile_id": ada}
    assert store.get(ada).samples == ()
    assert device.done == [
        ("changed", "Ada"), "read again",
        (EventKind.CHANGE, {"what": "reset", "by": "command"}, ada),
    ]  # fmt: skip
    assert device("delete", person=ada) == {"profile_id": ada}
    assert device.done == [
        ("changed", "Ada"), "read again", (EventKind.DELETION, {"by": "command"}, ada),
    ]  # fmt: skip
    assert store.list() == [], "and her second phrase with her"
    assert second


def test_an_enrollment_is_confirmed(store: ProfileStore, tmp_path: Path) -> None:
    device = Device(store, tmp_path)
    ada = waiting(store, "Ada")
    zoe = waiting(store, "Zoë")
    (shown, _) = device("list")["people"]
    assert (shown["complete"], shown["unconfirmed"], shown["remaining"]) == (False, True, 0.0)
    assert device("enroll_confirm", person="ada") == {
        "profile_id": ada, "person": "Ada", "done": 1, "enrolled_at": "2023-11-14T22:13:20.250Z",
        "enrolled_twice": True,
    }  # fmt: skip
    assert device.done == [
        ("changed", "Ada"), "read again",
        (EventKind.CHANGE, {"what": "confirmed", "by": "command"}, ada),
    ]  # fmt: skip
    assert store.get(ada).status is ProfileStatus.ENROLLED
    with pytest.raises(CommandFailed, match="nothing_to_confirm") as caught:
        device("enroll_confirm", person="Ada")
    assert caught.value.message == "Ada is not waiting to be confirmed"
    device.to_confirm = zoe
    assert device("enroll_confirm")["profile_id"] == zoe  # an unsigned one names nobody
    assert store.get(zoe).status is ProfileStatus.ENROLLED


def test_nobody_is_being_enrolled(store: ProfileStore, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="not_enrolling"):
        Device(store, tmp_path)("enroll_cancel")


def test_a_configuration_with_mistakes(store: ProfileStore, tmp_path: Path) -> None:
    def reread() -> None:
        raise ConfigError("config.yaml:3: audoi: unknown key", "another one")

    with pytest.raises(CommandFailed, match="bad_config") as caught:
        handlers_of(store, tmp_path, reread)["reload"]({})
    assert caught.value.message == (
        "config.yaml:3: audoi: unknown key (and 1 more); nothing has changed"
    )
