"""`edge-voice enroll NAME --digits` from files, as a user meets it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge.challenge.rounds import rounds_of
from edge.cli import enroll_digits, utterances
from edge.cli.enroll_digits import files_in
from edge.cli.main import main
from edge.errors import InputError
from edge.recognition import Engine
from edge.store import open_store
from edge.types import SAMPLE_RATE, Profile, ProfileKind, Utterance
from tests.unit.commands import Capture, run_json
from tests.unit.spoken_digits import (
    ADA,
    PACES,
    ROBIN,
    WORDS,
    enroll_ada,
    needs_flite,
    person,
    recording_of,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings of each digit, Ada's, in the layout DIGIT/*.wav."""
    return _written(tmp_path_factory.mktemp("digits"), ADA, PACES)


@pytest.fixture(scope="module")
def people(engine: Engine) -> dict[str, Profile]:
    return {"Ada": person(engine, ADA), "Robin": person(engine, ROBIN)}


@pytest.fixture
def enrolled(tmp_path: Path, config: Path, people: dict[str, Profile]) -> Path:
    """Ada and Robin with their passphrases."""
    state = tmp_path / "state"
    with open_store(state) as store:
        for name, known in people.items():
            store.create(
                name,
                ProfileKind.PHRASE,
                required=3,
                samples=known.samples,
                speaker_model=known.speaker_model,
                phrase_model=known.phrase_model,
            )
    return state


@pytest.fixture(autouse=True)
def cut_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """To cut a recording into its utterance takes longer than the rest: done once for each."""

    def utterance_from(file: Path) -> Utterance:
        content = file.read_bytes()
        if content not in _CUT:
            _CUT[content] = utterances.utterance_from(file)
        return _CUT[content]

    monkeypatch.setattr(enroll_digits, "utterance_from", utterance_from)


_CUT: dict[bytes, Utterance] = {}


def _written(folder: Path, voice: str, paces: Sequence[float]) -> Path:
    for digit, word in enumerate(WORDS):
        (folder / str(digit)).mkdir(parents=True, exist_ok=True)
        for number, pace in enumerate(paces):
            samples = recording_of([word], voice, pace, room_s=0.4)
            soundfile.write(folder / str(digit) / f"{number}.wav", samples, SAMPLE_RATE)
    return folder


@needs_flite
def test_three_recordings_of_each_digit_are_enough(
    enrolled: Path, folder: Path, capsys: Capture
) -> None:
    code, told = run_json(capsys, "enroll", "Ada", "--digits", "--files-from", str(folder))
    assert code == 0
    assert told["complete"] is True
    assert told["digits"]["rounds"] == 3
    assert len(told["utterances"]) == 30
    code, shown = run_json(capsys, "profiles", "show", "Ada")
    assert code == 0
    assert shown["profile"]["digits"]["rounds"] == 3
    assert len(shown["profile"]["digits"]["asked"]) >= 6
    assert main(["profiles", "show", "Ada"]) == 0
    assert "3 rounds" in capsys.readouterr().out
    assert main(["enroll", "Ada", "--digits", "--files-from", str(folder)]) == 2
    again = "the digits of Ada are already enrolled: add --again to replace them"
    assert again in capsys.readouterr().err


@needs_flite
def test_digits_are_forgotten_with_the_person(tmp_path: Path, config: Path) -> None:
    enroll_ada(tmp_path / "state")
    assert main(["profiles", "delete", "Ada", "--yes"]) == 0
    with open_store(tmp_path / "state") as store:
        assert store.kept("digit") == []


@needs_flite
def test_what_is_missing_can_be_said_later(
    enrolled: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    first = tmp_path / "first"
    shutil.copytree(folder, first)
    (first / "5" / "2.wav").unlink()
    assert main(["enroll", "Ada", "--digits", "--files-from", str(first)]) == 2
    assert "2 of 3 rounds enrolled. Run the command again to continue." in capsys.readouterr().out
    more = _written(tmp_path / "more", ADA, PACES[2:])
    assert main(["enroll", "Ada", "--digits", "--files-from", str(more)]) == 0
    assert "Digits enrolled for Ada: 3 rounds" in capsys.readouterr().out


@needs_flite
def test_the_same_recordings_twice_are_refused(
    enrolled: Path, tmp_path: Path, capsys: Capture
) -> None:
    once = _written(tmp_path / "once", ADA, PACES[:1])
    assert main(["enroll", "Ada", "--digits", "--files-from", str(once)]) == 2
    capsys.readouterr()
    assert main(["enroll", "Ada", "--digits", "--files-from", str(once)]) == 2
    assert "this recording is already enrolled" in capsys.readouterr().err
    with open_store(enrolled) as store:
        assert len(rounds_of(store, store.get("Ada").id)) == 1


@needs_flite
def test_another_voice_is_refused_and_the_old_digits_stand(
    enrolled: Path, folder: Path, capsys: Capture
) -> None:
    assert main(["enroll", "Robin", "--digits", "--files-from", str(folder)]) == 2
    assert "not the voice of the passphrase of Robin (similarity" in capsys.readouterr().err
    with open_store(enrolled) as store:
        assert rounds_of(store, store.get("Robin").id) == []


@needs_flite
def test_again_replaces_only_once_it_is_complete(
    config: Path, folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    enroll_ada(tmp_path / "state")

    def enrolled_at() -> list[float]:
        with open_store(tmp_path / "state") as store:
            return [spoken.voice.created_at for spoken in rounds_of(store, store.get("Ada").id)]

    before = enrolled_at()
    arguments = ["enroll", "Ada", "--digits", "--again", "--files-from"]
    assert main([*arguments, str(_written(tmp_path / "one", ADA, PACES[:1]))]) == 2
    said = capsys.readouterr().out
    assert "Ada keeps the old digits: " in said
    assert "2 more rounds are needed." in said
    assert main([*arguments, str(_written(tmp_path / "one", ADA, PACES[:2]))]) == 2
    assert "1 more round is needed." in capsys.readouterr().out
    assert enrolled_at() == before
    assert main([*arguments, str(folder)]) == 0
    assert len(enrolled_at()) == 3
    assert min(enrolled_at()) > max(before)


def test_options_that_do_not_go_together(store_path: Path, config: Path, capsys: Capture) -> None:
    for arguments, error in (
        (["Ada", "--digits", "--voice"], "--digits takes only NAME, --rounds, --files-from"),
        (["Ada", "--digits", "--rounds", "2"], "--rounds 2 is invalid; use 3 to 5"),
        (["Ada", "--digits", "--rounds", "6"], "--rounds 6 is invalid; use 3 to 5"),
        (["Ada", "--rounds", "3"], "--rounds"),
        (["Nobody", "--digits"], "there is no profile"),
    ):
        assert main(["enroll", *arguments]) == 2
        assert error in capsys.readouterr().err


def test_files_are_found_by_folder_or_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        files_in(tmp_path / "none")
    sound = np.zeros(1600, np.float32)
    for digit in range(9):
        soundfile.write(tmp_path / f"{digit}_ada_1.wav", sound, SAMPLE_RATE)
    with pytest.raises(InputError, match="no recording of 9"):
        files_in(tmp_path)
    (tmp_path / "9").mkdir()
    soundfile.write(tmp_path / "9" / "any.flac", sound, SAMPLE_RATE)
    (tmp_path / "10_x.wav").write_bytes(b"")
    found = files_in(tmp_path)
    assert {digit: len(paths) for digit, paths in found.items()} == dict.fromkeys(range(10), 1)
