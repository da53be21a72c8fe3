"""What the documentation says is current, leads somewhere, and is what the product says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from edge.cli.main import COMMANDS
from edge.config import all_settings
from edge.types import ReasonCode
from tests.conftest import REPOSITORY
from tools import make_docs
from tools.reference.words import anchor, prose, table
from tools.topics import TOPICS

DOCS = REPOSITORY / "docs"
PAGES = [
    *sorted(DOCS.rglob("*.md")),
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "CHANGELOG.md",
    REPOSITORY / "systemd" / "README.md",
    REPOSITORY / "models" / "README.md",
]
OF_OTHERS = ("sudo", "mosquitto", "systemctl", "journalctl", "edge-voice")
"""How something in a page of troubleshooting begins that the product does not say."""


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub and the site make them."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    return {anchor(line) for line in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", page.read_text("utf-8")):
        file, _, part = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.is_file(), target
        assert found.is_relative_to(REPOSITORY), target
        if part:
            assert part in headings(found), target


def test_what_is_made_from_the_code_is_current() -> None:
    assert make_docs.old() == []


def test_every_setting_command_and_topic_has_its_place() -> None:
    settings = headings(DOCS / "reference" / "configuration.md")
    assert {anchor(row.path) for row in all_settings()} <= settings
    commands = headings(DOCS / "reference" / "commands.md")
    assert {f"edge-voice-{name}" for name in COMMANDS} <= commands
    topics = headings(DOCS / "reference" / "mqtt.md")
    assert {anchor(topic.suffix) for topic in TOPICS} - {""} <= topics


def test_what_the_program_says_becomes_markdown() -> None:
    assert prose("see --help, or ~/.config/x.yaml; `a*b` <c>") == (
        "see `--help`, or `~/.config/x.yaml`; `a*b` \\<c\\>"
    )
    assert table(("a", "b"), [("x|y", "two\nlines")]) == (
        "| a | b |\n| --- | --- |\n| x\\|y | two lines |\n"
    )
    assert anchor("`set/enroll_person`") == "setenroll_person"


def test_troubleshooting_has_every_reason() -> None:
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    enrolling = {ReasonCode.REPEATED, ReasonCode.CUT_OFF, ReasonCode.OTHER_LENGTH}
    for reason in set(ReasonCode) - {ReasonCode.RECOGNIZED} - enrolling:
        assert f"`{reason.value}`" in text


def quoted_messages() -> list[str]:
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    cells = re.findall(r"^\| `([^`]+)` \| [A-Z]", text, re.MULTILINE)
    lines = re.findall(r"^    (.+)$", text, re.MULTILINE)
    told = [line for line in lines if not line.startswith(OF_OTHERS)]
    return [message for message in (*cells, *told) if " " in message]


@cache
def said() -> str:
    """Every text in the product, with an ellipsis for what varies."""
    texts = []
    for file in (REPOSITORY / "edge").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else "…" for part in node.values
                )
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%[-.0-9]*[sdf]|\{[^}]*\}", "…", node.value))
    return "\n".join(texts)


@pytest.mark.parametrize("message", quoted_messages())
def test_quoted_messages_are_the_products_own(message: str) -> None:
    for part in message.split("…"):
        assert part.strip(" '()") in said(), message


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    pages = {
        str(file.relative_to(tmp_path / "site")): file.read_text("utf-8")
        for file in (tmp_path / "site").rglob("*.html")
    }
    settings, commands = pages["reference/configuration.html"], pages["reference/commands.html"]
    for row in all_settings():
        assert f"<code>{row.path}</code>" in settings
    for name in COMMANDS:
        assert f"<code>edge-voice {name}</code>" in commands
    # What a link outside of docs/ leads to is a part of the site.
    assert "repository/systemd/index.html" in pages
    assert (tmp_path / "site" / "repository" / "config" / "edge-voice.yaml").is_file()
    for name, page in pages.items():
        loaded = re.findall(
            r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(https?:[^\"> ]+)", page
        )
        assert loaded == [], f"{name} is not complete without a network"
