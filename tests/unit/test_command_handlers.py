"""What commands do, where a running service shows little of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.access.lockout import LockOut
from edge.config import Config, LockOutConfig
from edge.crypto.canonical import read_message, wire
from edge.errors import ConfigError, ProfileError
from edge.mqtt import CommandFailed
from edge.service.command_handlers import MOST_LISTED, CommandHandlers
from edge.service.context import ListeningSwitch, RunControl, ServiceContext
from edge.store import ProfileStore, open_store
from edge.store.device_state import DeviceState
from edge.types import ProfileKind
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
    return CommandHandlers(context, counted, ignored, ignored).handlers()


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


def test_the_list_tells_no_phrase_and_of_no_second_one(store: ProfileStore, tmp_path: Path) -> None:
    ada = enroll(store, "Ada")
    enroll(store, "Ada (duress)", duress_of=ada)
    detail = handlers_of(store, tmp_path)["list"]({})
    assert detail == {
        "people": [
            {
                "profile_id": ada, "name": "Ada", "kind": "phrase", "complete": True, "samples": 1,
                "required": 1.0, "remaining": 0.0, "enabled": True,
            }
        ],
        "more": 0,
    }  # fmt: skip
    assert "opens" not in str(detail)


@pytest.mark.parametrize("command", ["delete", "reset", "disable", "enable"])
def test_a_duress_phrase_is_not_a_person(command: str, store: ProfileStore, tmp_path: Path) -> None:
    """Neither by its name nor by its id: the answer is that for a name which nobody has."""
    second = enroll(store, "Ada (duress)", duress_of=enroll(store, "Ada"))
    before = store.get(second).as_dict()
    for person in ("Ada (duress)", second, "Robin (duress)"):
        with pytest.raises(ProfileError):
            handlers_of(store, tmp_path)[command]({"person": person})
    assert store.get(second).as_dict() == before


def test_a_long_list_still_fits_into_a_message(store: ProfileStore, tmp_path: Path) -> None:
    for number in range(MOST_LISTED + 2):
        enroll(store, f"{number:03d}".ljust(64, "é"))
    detail = handlers_of(store, tmp_path)["list"]({})
    assert (len(detail["people"]), detail["more"]) == (MOST_LISTED, 2)
    message = wire({"id": "x", "ok": True, "detail": detail}).encode()
    assert read_message(message, 32768)["detail"]["more"] == 2


def test_what_is_switched_off(store: ProfileStore, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="switched_off"):
        handlers_of(store, tmp_path, lockout=False)["lock_out"]({})
    assert handlers_of(store, tmp_path)["lock_out"]({})["locked_out"] is True
    assert "reload" not in handlers_of(store, tmp_path)


def test_a_configuration_with_mistakes(store: ProfileStore, tmp_path: Path) -> None:
    def reread() -> None:
        raise ConfigError("config.yaml:3: audoi: unknown key", "another one")

    with pytest.raises(CommandFailed, match="bad_config") as caught:
        handlers_of(store, tmp_path, reread)["reload"]({})
    assert caught.value.message == (
        "config.yaml:3: audoi: unknown key (and 1 more); nothing has changed"
    )
