"""A scripted run says today what it said before names changed."""

from __future__ import annotations

from pathlib import Path

from tests.golden.comparing import differences, golden
from tests.golden.renamed import Translation
from tests.golden.run import scripted_run


def test_a_scripted_run_says_the_same_today(tmp_path: Path) -> None:
    wanted = Translation().of(golden("run.jsonl"))
    assert differences(wanted, list(scripted_run(tmp_path)), tolerance=0.02) == []
