"""The attacks of docs/THREATS.md on the running service, a few tries of each: none is accepted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import attack
from tools.attacks.house import Voices

HELD = [part for part in attack.PARTS if part != "spread"]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("part", HELD)
def test_nothing_is_accepted(part: str, speech_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    options = ["--only", part, "--attempts", "4", "--json", str(file)]
    assert attack.main([str(speech_folder), *options]) == 0
    rows = json.loads(file.read_text())[part]["attacks"]
    assert rows
    assert {row["attack"]: row["accepted"] for row in rows} == {row["attack"]: 0 for row in rows}
    if part != "synthetic":  # where no synthesizer is installed
        assert all(row["tried"] for row in rows)


def test_targets_and_strangers(speech_folder: Path) -> None:
    voices = Voices(speech_folder)
    pairs = voices.pairs(2 * len(voices.speakers))
    assert len(set(pairs)) == len(pairs)
    assert all(target != stranger for target, stranger in pairs)
    first = [target for target, _ in pairs[: len(voices.speakers)]]
    assert sorted(first) == voices.speakers
