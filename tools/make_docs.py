"""Makes what is in docs/ and made from the code: the pages of reference, the AsyncAPI document.

python -m tools.make_docs            # writes them
python -m tools.make_docs --check    # says which are old
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
    """Every file and what belongs in it."""
    return {
        _FOLDER / "configuration.md": configuration.page(),
        _FOLDER / "commands.md": commands.page(),
        _FOLDER / "mqtt.md": messages.page(),
        make_asyncapi.FILE: make_asyncapi.text(),
    }


def old() -> list[Path]:
    """The files that are not as they would be made now."""
    return [
        file
        for file, text in documents().items()
        if not file.is_file() or file.read_text("utf-8") != text
    ]


def main() -> int:
    """Write the files, or say which are old."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where one is old")
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
