"""The audit command, and what other commands tell the trail."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge.cli.main import main
from tests.unit.commands import Capture, run_json

pytestmark = pytest.mark.usefixtures("config", "store_path")


@pytest.fixture
def changed(capsys: Capture, config: Path, store_path: Path) -> str:
    """A rename, a reset and a deletion; the id of who was deleted."""
    assert config.parent == store_path.parent.parent
    _, value = run_json(capsys, "profiles", "show", "Ada")
    assert main(["profiles", "rename", "Ada", "Augusta"]) == 0
    assert main(["profiles", "reset", "Augusta", "--yes"]) == 0
    assert main(["profiles", "revert", "Grace", "--yes"]) == 0
    assert main(["profiles", "delete", "Augusta", "--yes"]) == 0
    capsys.readouterr()
    return str(value["profile"]["id"])


def test_what_was_changed_is_shown(capsys: Capture, changed: str) -> None:
    assert main(["audit", "show"]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.split() == ["ENTRY", "TIME", "WHAT", "WHO", "DETAIL"]
    assert [line.split()[3] for line in lines] == ["change", "change", "change", "deletion"]
    assert "renamed" in lines[0]
    assert f"{changed[:8]} (deleted)" in lines[0]
    assert "Grace" in lines[2]
    assert "by command line" in lines[3]


def test_it_is_filtered(capsys: Capture, changed: str) -> None:
    def seqs(*arguments: str) -> list[int]:
        code, value = run_json(capsys, "audit", "show", *arguments)
        assert code == 0
        return [entry["seq"] for entry in value["entries"]]

    assert seqs() == [1, 2, 3, 4]
    assert seqs("--last", "2") == [3, 4]
    assert seqs("--kind", "deletion") == [4]
    assert seqs("--person", "grace") == [3]
    assert seqs("--person", changed[:8]) == [1, 2, 4]
    assert seqs("--until", "2020-01-01") == []
    assert seqs("--since", "2020-01-01T12:00", "--kind", "change") == [1, 2, 3]
    assert main(["audit", "show", "--kind", "nothing"]) == 2
    assert main(["audit", "show", "--person", "Nobody"]) == 2
    assert main(["audit", "show", "--since", "yesterday"]) == 2
    assert main(["audit", "show", "--last", "0"]) == 2


def test_no_name_is_left_of_who_was_deleted(changed: str, store_path: Path) -> None:
    assert changed
    for file in store_path.parent.iterdir():
        assert b"augusta" not in file.read_bytes().lower()
    assert changed.encode() in (store_path.parent / "audit.sqlite").read_bytes()


@pytest.mark.usefixtures("changed")
def test_verify_says_where(capsys: Capture, store_path: Path) -> None:
    code, value = run_json(capsys, "audit", "verify")
    assert (code, value["intact"], value["entries"]) == (0, True, 4)
    head = value["head"]
    assert main(["audit", "verify", "--head", head]) == 0
    assert f"Head, to note elsewhere: {head}" in capsys.readouterr().out
    assert main(["audit", "verify", "--head", "5:" + "0" * 64]) == 1
    assert "entry 5 is missing at the end" in capsys.readouterr().out
    assert main(["audit", "verify", "--head", "5"]) == 2
    capsys.readouterr()
    path = store_path.with_name("audit.sqlite")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE entry SET profile = 'another' WHERE seq = 2")
    assert main(["audit", "verify"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"{path} is broken: entry 2 is not as it was written."
    assert main(["audit", "show"]) == 0


@pytest.mark.usefixtures("changed")
def test_an_export_is_verified_too(capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "trail.jsonl"
    assert main(["audit", "export", str(file)]) == 0
    assert "4 entries written to" in capsys.readouterr().out
    assert main(["audit", "export", str(file)]) == 2
    assert file.stat().st_mode & 0o777 == 0o600
    first, *lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert first["head"] == f"4:{lines[3]['mac']}"
    assert main(["audit", "verify", "--file", str(file)]) == 0
    file.write_text(file.read_text().replace("renamed", "reverted"))
    capsys.readouterr()
    assert main(["audit", "verify", "--file", str(file)]) == 1
    assert "entry 1 is not as it was written" in capsys.readouterr().out
    for content in ("", "{}\n", "[]\n", "\xff", '{"head": null}\n{"seq": []}\n'):
        file.write_text(content, encoding="latin-1")
        assert main(["audit", "verify", "--file", str(file)]) == 2


def test_nothing_has_happened_yet(capsys: Capture) -> None:
    assert main(["audit", "show"]) == 0
    assert "No entries found" in capsys.readouterr().out
    assert main(["audit", "verify"]) == 0
    assert "no entries yet" in capsys.readouterr().out
    assert main(["audit", "export", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == 0


def test_what_cannot_be_audited_is_done_and_said(capsys: Capture, store_path: Path) -> None:
    store_path.with_name("audit.sqlite").write_bytes(b"nothing of the kind" * 99)
    assert main(["profiles", "delete", "Ada", "--yes"]) == 0
    output = capsys.readouterr()
    assert "Ada is deleted" in output.out
    assert "not in the audit trail" in output.err
