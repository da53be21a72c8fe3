"""Generates the pages in docs/ that come from the code: the reference and the AsyncAPI document.

python -m tools.make_docs            # write them
python -m tools.make_docs --check    # list those out of date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tools import make_asyncapi
from tools.reference import commands, configuration, messages
from tools.topics import REPOSITORY

_FOLDER = REPOSITORY / "docs" / "reference"


def documents() -> dict[Path, str]:
    """Every generated file with its content."""
    return {
        _FOLDER / "configuration.md": configuration.page(),
        _FOLDER / "commands.md": commands.page(),
        _FOLDER / "mqtt.md": messages.page(),
        make_asyncapi.FILE: make_asyncapi.text(),
    }


def old() -> list[Path]:
    """The files that are out of date."""
    return [
        file
        for file, text in documents().items()
        if not file.is_file() or file.read_text("utf-8") != text
    ]


def main() -> int:
    """Write the files, or list those out of date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 if one is out of date"
    )
    if parser.parse_args().check:
        late = [str(file.relative_to(REPOSITORY)) for file in old()]
        print(f"old: {', '.join(late)}; run python -m tools.make_docs" if late else "current")
        return 1 if late else 0
    for file, text in documents().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
