"""Generates docs/openapi-*.yaml from the tables of the calls that `edge-voice serve` has.

python -m tools.make_openapi            # write them
python -m tools.make_openapi --check    # check that they are current

The server itself makes them anew when it is asked.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import yaml

from edge.cloud_api.openapi import SERVED, Served
from tools.topics import REPOSITORY

_HEAD = "# Generated from edge/cloud_api by: python -m tools.make_openapi\n"


def file_of(served: Served) -> Path:
    """Where the document of a version is."""
    return REPOSITORY / "docs" / f"openapi-{served.name}.yaml"


def text_of(served: Served) -> str:
    """The document of a version as YAML."""
    plain = json.loads(json.dumps(served.document()))  # what occurs twice is written out twice
    body = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    return _HEAD + str(body)


def main() -> int:
    """Write the documents, or check that they are current."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 if one is out of date"
    )
    only_check = parser.parse_args().check
    stale = [served for served in SERVED if not _is_current(served)]
    for served in stale:
        if only_check:
            name = file_of(served).relative_to(REPOSITORY)
            print(f"{name} is out of date: run python -m tools.make_openapi")
        else:
            file_of(served).write_text(text_of(served), encoding="utf-8")
    return 1 if only_check and stale else 0


def _is_current(served: Served) -> bool:
    file = file_of(served)
    return file.exists() and file.read_text(encoding="utf-8") == text_of(served)


if __name__ == "__main__":
    sys.exit(main())
