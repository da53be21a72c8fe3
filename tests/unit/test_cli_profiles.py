"""The profiles command: what it shows, what it asks, what it refuses."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge.cli.main import main
from edge.store import ProfileStore
from edge.types import ProfileKind
from tests.unit.commands import Capture, run_json
from tests.unit.stores import (
    PHRASE_MODEL,
    SPEAKER_MODEL,
    make_sample,
    plain_parts,
    sealed_rows,
    traces,
)

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("config")


@pytest.mark.usefixtures("store_path")
def test_list_shows_everybody(capsys: Capture) -> None:
    assert main(["profiles", "list"]) == 0
    title, ada, grace = capsys.readouterr().out.splitlines()
    assert title.split()[:3] == ["NAME", "KIND", "STATUS"]
    assert ada.split()[:6] == ["Ada", "passphrase", "enrolled", "3", "of", "3"]
    assert grace.split()[:6] == ["Grace", "voice", "enrolling", "12.5", "of", "30"]


def test_whoever_was_enrolled_over_mqtt_is_confirmed(capsys: Capture, store_path: Path) -> None:
    with ProfileStore(store_path) as store:
        store.create(
            "Zoë", ProfileKind.PHRASE, required=1, samples=[make_sample()],
            speaker_model=SPEAKER_MODEL, phrase_model=PHRASE_MODEL, confirmed=False,
        )  # fmt: skip
    assert main(["profiles", "list"]) == 0
    zoe = capsys.readouterr().out.splitlines()[3]
    assert zoe.split()[:6] == ["Zoë", "passphrase", "unconfirmed", "1", "of", "1"]
    assert main(["profiles", "show", "Zoë"]) == 0
    shown = capsys.readouterr().out
    assert "status   unconfirmed, 1 of 1 repetitions\n" in shown
    (asked,) = re.findall(r"^ +(opens nothing: if Zoë enrolled at 2023-11-1.*)$", shown, re.M)
    assert asked.endswith(", run edge-voice profiles confirm")
    assert main(["profiles", "confirm", "ada"]) == 2
    assert "Ada is not waiting to be confirmed" in capsys.readouterr().err
    assert main(["profiles", "confirm", "zoë"]) == 0
    assert capsys.readouterr().out == "Zoë is confirmed and may open.\n"
    code, value = run_json(capsys, "profiles", "show", "Zoë")
    assert (code, value["profile"]["status"]) == (0, "enrolled")
    _, trail = run_json(capsys, "audit", "show")
    (changed,) = [each["detail"] for each in trail["entries"]]
    assert (changed["what"], changed["by"]) == ("confirmed", "command line")


def test_list_of_nobody(capsys: Capture) -> None:
    assert main(["profiles", "list"]) == 0
    assert "Nobody is enrolled" in capsys.readouterr().out


@pytest.mark.usefixtures("store_path")
def test_show_never_shows_a_signature(capsys: Capture) -> None:
    code, value = run_json(capsys, "profiles", "show", "GRACE")
    assert code == 0
    assert (value["profile"]["name"], value["profile"]["remaining"]) == ("Grace", 17.5)
    assert not any("embedding" in key for key in value["profile"])
    for name in ("created_at", "updated_at"):
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value["profile"][name])
    assert main(["profiles", "show", "Ada"]) == 0
    shown = capsys.readouterr().out
    assert "3 of 3 repetitions" in shown
    assert "heard    not known" in shown


@pytest.mark.usefixtures("store_path")
@pytest.mark.parametrize("action", ["show", "revert", "reset", "rename", "delete"])
def test_unknown_profile_is_2_and_hints(capsys: Capture, action: str) -> None:
    extra = {"rename": ["Augusta"], "show": []}.get(action, ["--yes"])
    assert main(["profiles", action, "Adda", *extra]) == 2
    assert "did you mean Ada?" in capsys.readouterr().err


def test_rename_reset_delete(capsys: Capture, store_path: Path) -> None:
    assert main(["profiles", "rename", "ada", "Augusta Ada"]) == 0
    assert main(["profiles", "rename", "Grace", "augusta ADA"]) == 2
    assert main(["profiles", "reset", "augusta ada", "--yes"]) == 0
    assert "Augusta Ada is reset" in capsys.readouterr().out
    code, value = run_json(capsys, "profiles", "show", "augusta ada")
    assert (code, value["profile"]["remaining"]) == (0, 3)
    code, value = run_json(capsys, "profiles", "delete", "augusta ada", "-y")
    assert (code, value["deleted"]["name"]) == (0, "Augusta Ada")
    with ProfileStore(store_path) as store:
        assert [profile.name for profile in store.list()] == ["Grace"]


class _Answers:
    def __init__(self, answer: str, *, terminal: bool) -> None:
        self.answer, self.terminal = answer, terminal

    def isatty(self) -> bool:
        return self.terminal

    def readline(self) -> str:
        return self.answer


@pytest.mark.parametrize("action", ["delete", "reset"])
@pytest.mark.parametrize(
    ("answer", "terminal", "code"),
    [("y\n", True, 0), ("Yes\n", True, 0), ("\n", True, 1), ("", True, 1), ("y\n", False, 2)],
)
def test_erasing_asks_first(
    monkeypatch: pytest.MonkeyPatch,
    store_path: Path,
    action: str,
    answer: str,
    terminal: bool,
    code: int,
) -> None:
    monkeypatch.setattr(sys, "stdin", _Answers(answer, terminal=terminal))
    assert main(["profiles", action, "Ada"]) == code
    with ProfileStore(store_path) as store:
        kept = any(profile.name == "Ada" and profile.samples for profile in store.list())
    assert kept is (code != 0)


def _teach(store_path: Path, *seeds: int) -> None:
    with ProfileStore(store_path) as store:
        for seed in seeds:
            store.adapt(store.get("Ada"), replace(make_sample(seed), adapted=True), most=5)


def test_show_tells_what_was_learned_and_revert_forgets_it(
    capsys: Capture, store_path: Path, config: Path
) -> None:
    def adapted() -> str:
        assert main(["profiles", "show", "Ada"]) == 0
        lines = capsys.readouterr().out.splitlines()
        return next(line for line in lines if line.startswith("  adapted "))

    assert adapted() == "  adapted  no (enrollment.adapt is off)"
    config.write_text("state_directory: state\nenrollment: {adapt: true, adapt_samples: 7}\n")
    assert adapted() == "  adapted  nothing yet"
    code, before = run_json(capsys, "profiles", "show", "Ada")
    assert (code, before["profile"]["adapted"], before["profile"]["drift"]) == (0, 0, 0.0)
    _teach(store_path, 7, 8)
    assert re.fullmatch(
        r"  adapted  2 of at most 7 utterances, drift 0\.\d{3} \(0 none, 1 another voice\);"
        r" latest 2023-11-1\d \d\d:\d\d",
        adapted(),
    )
    code, value = run_json(capsys, "profiles", "show", "Ada")
    assert (code, value["profile"]["adapted"], value["profile"]["enrollments"]) == (0, 2, 3)
    assert 0.05 < value["profile"]["drift"] < 0.3  # random numbers, which no voice is
    code, value = run_json(capsys, "profiles", "list")
    assert [each["adapted"] for each in value["profiles"]] == [2, 0]
    config.write_text("state_directory: state\n")
    assert adapted().endswith("; now off")
    assert main(["profiles", "revert", "Ada", "--yes"]) == 0
    assert "Ada is back to the enrolled signature" in capsys.readouterr().out
    code, after = run_json(capsys, "profiles", "show", "Ada")
    assert (code, after["profile"]["adapted"], after["profile"]["enrollments"]) == (0, 0, 3)
    code, value = run_json(capsys, "profiles", "revert", "Ada", "-y")
    assert (code, value["profile"]["adapted"]) == (0, 0)


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 0), ("\n", 1, 1)])
def test_reverting_asks_first(
    monkeypatch: pytest.MonkeyPatch, store_path: Path, answer: str, code: int, left: int
) -> None:
    _teach(store_path, 7)
    monkeypatch.setattr(sys, "stdin", _Answers(answer, terminal=True))
    assert main(["profiles", "revert", "Ada"]) == code
    with ProfileStore(store_path) as store:
        assert len(store.get("Ada").adapted) == left


def test_damaged_signature_can_be_reset(capsys: Capture, store_path: Path) -> None:
    content = bytearray(store_path.read_bytes())
    with ProfileStore(store_path) as store:
        ada = store.get("Ada").id
    content[bytes(content).index(sealed_rows(store_path, ada)[2][40:60])] ^= 1
    store_path.write_bytes(content)
    code, value = run_json(capsys, "profiles", "list")
    assert code == value["error"]["exit_code"] == 3
    assert "signature of Ada" in value["error"]["message"]
    assert main(["profiles", "reset", "Ada", "--yes"]) == 0
    assert main(["profiles", "list"]) == 0


def test_foreign_store_is_3_and_left_alone(capsys: Capture, store_path: Path) -> None:
    store_path.write_bytes(b"keep me" * 1000)
    for arguments in (["profiles", "list"], ["enroll", "Ada", "a.wav"], ["verify", "Ada", "a.wav"]):
        assert main(arguments) == 3
        assert "not a signature store" in capsys.readouterr().err
    assert store_path.read_bytes() == b"keep me" * 1000


@pytest.mark.parametrize("then", [["profiles", "delete", "--yes"], ["profiles", "reset", "--yes"]])
def test_nothing_of_who_was_erased_is_in_any_file(store_path: Path, then: list[str]) -> None:
    """Not the name before, nor the one after, nor a sealed row, whichever file it may be."""
    names = ["Ada Lovelace of Ockham", "Augusta Ada King of Lovelace"]
    assert main(["profiles", "rename", "Ada", names[0]]) == 0
    with ProfileStore(store_path) as store:
        ada = store.get(names[0])
        store.replace_samples(
            ada.id, ada.samples, ada.speaker_model, ada.phrase_model, phrase="open, little door"
        )
    rows = sealed_rows(store_path, ada.id)
    assert traces(store_path.parent, *rows)
    assert main(["profiles", "rename", names[0], names[1]]) == 0
    rows += sealed_rows(store_path, ada.id)[:1]
    assert main([*then[:2], names[1], *then[2:]]) == 0
    folded = [name.lower().encode() for name in names]
    secrets = [*folded, *(name.encode() for name in names), b"open, little door"]
    assert traces(store_path.parent, *secrets, *rows) == []
    samples = [part for seed in (1, 2, 3) for part in plain_parts(make_sample(seed))]
    assert traces(store_path.parent, *samples) == []
