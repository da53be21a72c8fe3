"""A hook of MkDocs that makes links from docs/ to the rest of the repository work in the site.

A page may link to `../systemd/README.md`, which a site made of docs/ lacks. Linked files become
part of the site, under `repository/`: Markdown as a page, everything else as it is.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

_ROOT = Path(__file__).resolve().parents[1]
_DOCS = "docs"
_ELSEWHERE = "repository"
_LINK = re.compile(r"(\]\()(?![a-z]+:|#|/)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add files outside docs/ that the pages link to."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    known = set(waiting)
    while waiting:
        page = waiting.pop()
        for target in _targets(page):
            place = _in_site(target)
            if place in known or not place.startswith(_ELSEWHERE):
                continue
            known.add(place)
            files.append(_file(place, target, config))
            if place.endswith(".md"):
                waiting.append(place)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at their targets in the site."""
    here = page.file.src_uri

    def moved(match: re.Match[str]) -> str:
        target = _target(here, match[2])
        if target is None:
            return match[0]
        way = posixpath.relpath(_in_site(target), posixpath.dirname(here) or ".")
        return match[1] + way

    return _LINK.sub(moved, markdown)


def _file(place: str, target: str, config: Any) -> File:
    level = InclusionLevel.NOT_IN_NAV
    return File.generated(config, place, abs_src_path=str(_ROOT / target), inclusion=level)


def _targets(page: str) -> Iterator[str]:
    text = (_ROOT / _in_repository(page)).read_text("utf-8")
    for match in _LINK.finditer(text):
        target = _target(page, match[2])
        if target is not None:
            yield target


def _target(page: str, link: str) -> str | None:
    """The file in the repository that a page's link leads to; None if there is none."""
    start = posixpath.dirname(_in_repository(page))
    target = posixpath.normpath(posixpath.join(start, link))
    return target if not target.startswith("..") and (_ROOT / target).is_file() else None


def _in_repository(place: str) -> str:
    if place.startswith(f"{_ELSEWHERE}/"):
        return place[len(_ELSEWHERE) + 1 :]
    return f"{_DOCS}/{place}"


def _in_site(target: str) -> str:
    if target.startswith(f"{_DOCS}/"):
        return target[len(_DOCS) + 1 :]
    return f"{_ELSEWHERE}/{target}"
