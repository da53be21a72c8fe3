"""Pictures of terminals: what is drawn is what was on the screen, and nothing else."""

from __future__ import annotations

import os
import re
import sys

import pytest

from tests.conftest import REPOSITORY
from tools.pictures.drawing import THEMES, strangers, svg_of
from tools.pictures.terminal import Terminal

PICTURES = sorted((REPOSITORY / "docs" / "pictures").glob("*.svg"))
SAID = (
    r"print('\033[32mgreen\033[0m \033[2mfaint\033[0m \033[38;2;1;2;3mown\033[0m');"
    r"print(input('name? '), '\u2588\u2713')"
)


def test_a_screen_is_pictured_as_it_is() -> None:
    command = [sys.executable, "-c", SAID]
    with Terminal(command, 40, 10, dict(os.environ)) as terminal:
        terminal.run_until("name?", 20.0)
        terminal.type("Ada\n")
        terminal.run_to_end(20.0)
        screen = terminal.snapshot()
    assert [line.plain for line in screen] == ["green faint own", "name? Ada", "Ada █✓"]
    styles = {span.style for line in screen for span in line.spans}
    assert [str(each) for each in sorted(styles, key=str) if str(each) != "none"] == [
        "#010203",
        "dim",
        "green",
    ]
    for theme in THEMES:
        svg = svg_of(screen, 40, "a title", theme)
        assert "a&#160;title" in svg
        assert "green" in svg
        assert strangers(svg, ["/home/nobody"]) == []
        assert strangers(svg, ["faint"]) == ["faint"]


def test_what_is_awaited_in_vain_is_said() -> None:
    command = [sys.executable, "-c", "print('bye')"]
    awaited = pytest.raises(TimeoutError, match=r"never showed 'hello'; it shows:\nbye")
    with Terminal(command, 20, 5, dict(os.environ)) as terminal, awaited:
        terminal.run_until("hello", 20.0)


@pytest.mark.parametrize("theme", THEMES)
def test_nothing_is_loaded_from_elsewhere(theme: str) -> None:
    assert strangers('<svg><style>@import "x"; a {b: url(http://x.y/z)}</style>', []) != []
    assert "font-face" not in svg_of([], 20, "empty", theme)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_the_pictures_of_the_documentation_stand_alone(picture: object) -> None:
    svg = picture.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert strangers(svg, ["/tmp/", "/root"]) == []  # noqa: S108
    assert len(svg) < 100_000
    assert re.match(r"<svg class=\"rich-terminal\" viewBox=", svg)
