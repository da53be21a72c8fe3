"""Kinds of microphones: which are equal, what they never hold, and whom the service warns."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from edge.audio.command import CommandMicrophone
from edge.audio.microphone import live_source
from edge.service.microphone_kind import MicrophoneKind
from edge.store import ProfileStore
from edge.store.device_state import DeviceState
from edge.types import Profile, ProfileKind
from edge.types.microphone import device_kind, is_another, is_kind, with_kind
from tests.unit.stores import PHRASE_MODEL, SPEAKER_MODEL, make_sample

USB, FFMPEG = "microphone USB", "program ffmpeg"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("USB PnP Sound Device: Audio (hw:1,0)", "microphone USB PnP Sound Device: Audio"),
        ("USB PnP Sound Device: Audio (hw:3,0)", "microphone USB PnP Sound Device: Audio"),
        ("Yeti #2", "microphone Yeti"),
        ("default", "microphone default"),
        ("a\x1bb", "microphone a?b"),
        ("a" * 200, "microphone " + "a" * 109),
    ],
)
def test_a_number_that_changes_is_no_part_of_it(name: str, kind: str) -> None:
    assert device_kind(name) == kind
    assert is_kind(kind)


def test_no_address_or_argument_is_kept() -> None:
    camera = CommandMicrophone("/usr/bin/ffmpeg -i rtsp://me:secret@camera/1")
    assert camera.kind == FFMPEG
    assert live_source("wyoming://192.168.1.5:10700", None, 20.0).kind == "Wyoming satellite"
    assert live_source(None, None, 20.0).kind == ""


def test_kinds_are_gathered() -> None:
    assert with_kind((), "") == ()
    assert with_kind((USB,), USB) == (USB,)
    kinds: tuple[str, ...] = ()
    for number in range(10):
        kinds = with_kind(kinds, str(number))
    assert kinds == tuple("23456789")


def test_what_is_another_microphone() -> None:
    assert is_another([USB], FFMPEG)
    assert not is_another([USB, FFMPEG], FFMPEG)
    # Nobody knows what made a recording, or with what older versions enrolled.
    assert not is_another([USB, "recording"], FFMPEG)
    assert not is_another([], FFMPEG)
    assert not is_another([USB], "")


def test_the_store_remembers_them(tmp_path: Path) -> None:
    with ProfileStore(tmp_path / "signatures.sqlite") as store:
        store.create(
            "Ada", ProfileKind.PHRASE, required=3, samples=[make_sample()],
            speaker_model=SPEAKER_MODEL, phrase_model=PHRASE_MODEL, microphone=USB,
        )  # fmt: skip
        added = make_sample(), SPEAKER_MODEL, PHRASE_MODEL
        assert store.add_sample("Ada", *added).microphones == (USB,)
        assert store.add_sample("Ada", *added, microphone=FFMPEG).microphones == (USB, FFMPEG)
        assert store.export("Ada").profile.microphones == (USB, FFMPEG)
        again = store.import_person(store.export("Ada"), "Augusta")
        assert again.microphones == (USB, FFMPEG)
        new = store.replace_samples("Ada", [make_sample()], *added[1:], microphones=[FFMPEG])
        assert new.microphones == (FFMPEG,)
        assert store.reset("Ada").microphones == ()


def _person(name: str, *kinds: str) -> Profile:
    return replace(Profile.begin(name), microphones=kinds)


def test_the_service_warns_once_a_person(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    ada, zoe, bob = _person("Ada", USB), _person("Zoë", FFMPEG), _person("Bob")
    duress = replace(_person("Ada (duress)", USB), duress_of=ada.id)
    with closing(DeviceState(tmp_path)) as state:
        watched = MicrophoneKind(state)
        watched.tick("", [ada])
        assert caplog.messages == []
        people = [ada, zoe, bob, duress]
        for each in (people, people, list(people)):
            watched.tick(FFMPEG, each)
        (warning,) = caplog.messages
        assert warning == (
            "Ada was enrolled with another microphone (microphone USB) than this one (program"
            " ffmpeg): if Ada is turned away, enroll once more here with --more, or again with"
            " --again"
        )
        assert state.get("microphone_kind") == FFMPEG
        caplog.clear()
        # Another microphone, and a person who was enrolled there and then here again.
        watched.tick(USB, people)
        assert [message.split()[0] for message in caplog.messages] == ["Zoë"]
        assert state.get("microphone_kind") == USB
        watched.tick(USB, [replace(zoe, microphones=(FFMPEG, USB))])
        watched.tick(USB, [zoe])
        assert len(caplog.messages) == 2
