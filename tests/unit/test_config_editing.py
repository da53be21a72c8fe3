"""One setting changed in a file that somebody wrote: everything else stays, nothing is lost."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import editing, parse_config
from edge.errors import ConfigError, EnvironmentFault
from tests.conftest import REPOSITORY

FILE = Path("config.yaml")
EXAMPLES = sorted((REPOSITORY / "config").glob("*.yaml"))


def changed(text: str, value: str = "strict") -> str:
    new = editing.changed(text.encode(), FILE, {"security.false_accept_rate": value})
    assert parse_config(new, FILE).security.false_accept_rate == value
    return new.decode()


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.name))
def test_in_the_examples_no_other_line_changes(file: Path) -> None:
    former = file.read_text(encoding="utf-8")
    lines = changed(former).splitlines()
    if "security:" in former:
        assert lines == former.replace("rate: balanced", "rate: strict").splitlines()
    else:
        assert lines[:-3] == former.splitlines()
        assert lines[-3:] == ["", "security:", "  false_accept_rate: strict"]


@pytest.mark.parametrize(
    ("former", "new"),
    [
        ("", "security:\n  false_accept_rate: strict\n"),
        ("# mine", "# mine\n\nsecurity:\n  false_accept_rate: strict\n"),
        (
            "security:\n  # why\n  false_accept_rate: 0.002  # for the cat\nlog_level: info\n",
            "security:\n  # why\n  false_accept_rate: strict  # for the cat\nlog_level: info\n",
        ),
        ("security: {false_accept_rate: 'relaxed'}", "security: {false_accept_rate: strict}"),
        (
            "security:  # later\nlog_level: info\n",
            "security:  # later\n  false_accept_rate: strict\nlog_level: info\n",
        ),
        ("security:", "security:\n  false_accept_rate: strict\n"),
        ("security: ~\n", "security: {false_accept_rate: strict}\n"),
        ("security: {}\n", "security: {false_accept_rate: strict}\n"),
        ("{log_level: info}", "{security: {false_accept_rate: strict}, log_level: info}"),
        (
            "{security: , log_level: info}",
            "{security: {false_accept_rate: strict} , log_level: info}",
        ),
        (
            "  log_level: info\n",
            "  log_level: info\n\n  security:\n    false_accept_rate: strict\n",
        ),
        (
            "\ufeffsecurity:\r\n  false_accept_rate: relaxed\r\n",
            "\ufeffsecurity:\r\n  false_accept_rate: strict\r\n",
        ),
        ("log_level: info", "log_level: info\n\nsecurity:\n  false_accept_rate: strict\n"),
        (
            "device: {name: Tür 🚪}\n",
            "device: {name: Tür 🚪}\n\nsecurity:\n  false_accept_rate: strict\n",
        ),
        (
            "device: {name: Tür 🚪}\nsecurity:\n    false_accept_rate: relaxed\n",
            "device: {name: Tür 🚪}\nsecurity:\n    false_accept_rate: strict\n",
        ),
    ],
)
def test_whatever_shape_the_file_has(former: str, new: str) -> None:
    assert changed(former) == new


@pytest.mark.parametrize("text", ["log_level: info\n...\n", "~\n"])
def test_a_shape_without_a_place_for_it_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="by hand"):
        changed(text)


def test_a_file_with_mistakes_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown key 'lock'"):
        changed("lock: yes\n")


@given(
    st.lists(st.sampled_from(["# a note", "", "log_level: debug", "device: {id: x}"]), unique=True),
    st.sampled_from(["", "security:\n", "security:\n  false_accept_rate: 0.05 # x\n"]),
    st.sampled_from(["relaxed", "balanced", "strict"]),
)
def test_changing_it_again_gives_the_same(rows: list[str], section: str, value: str) -> None:
    text = "\n".join(rows) + "\n" + section
    once = changed(text, "relaxed")
    assert changed(changed(text, value), "relaxed") == once
    assert [row for row in rows if row] == [row for row in once.split("\n") if row in rows and row]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"log_level: info\n")
    path.chmod(0o640)
    return path


def test_the_former_file_is_kept_and_its_mode_stays(file: Path) -> None:
    backup = editing.replace_file(file, b"log_level: info\n", b"log_level: debug\n")
    assert file.read_bytes() == b"log_level: debug\n"
    assert backup.read_bytes() == b"log_level: info\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (file, backup)} == {0o640}
    assert sorted(path.name for path in file.parent.iterdir()) == ["config.yaml", "config.yaml.bak"]


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.yaml"
    link.parent.mkdir()
    link.symlink_to(file)
    editing.replace_file(link, b"log_level: info\n", b"log_level: debug\n")
    assert link.is_symlink()
    assert file.read_bytes() == b"log_level: debug\n"


def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(file: Path) -> None:
    with pytest.raises(EnvironmentFault, match="meanwhile"):
        editing.replace_file(file, b"log_level: error\n", b"log_level: debug\n")
    assert file.read_bytes() == b"log_level: info\n"


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_failing_write_loses_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if fails == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(EnvironmentFault, match="No space left"):
        editing.replace_file(file, b"log_level: info\n", b"log_level: debug\n")
    assert file.read_bytes() == b"log_level: info\n"
    assert [path.name for path in file.parent.iterdir()] == ["config.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_may_not_be_written(file: Path) -> None:
    file.chmod(0o440)
    with pytest.raises(EnvironmentFault, match="may not be written"):
        editing.replace_file(file, b"log_level: info\n", b"log_level: debug\n")
