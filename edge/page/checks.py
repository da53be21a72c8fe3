"""What the doctor finds, and what the latest evaluation measured."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from edge.doctor import State
from edge.errors import StoreError
from edge.evaluation.results import SUMMARY_KEY
from edge.page import words
from edge.page.visits import Pages, Visit

_LONGEST_S = 180.0
_STYLES = {
    State.RED.value: ("bad", "must be fixed"),
    State.YELLOW.value: ("wait", "could be better"),
    State.GREEN.value: ("good", "well"),
    State.SKIPPED.value: ("off", "not checked"),
}
_ORDER = list(_STYLES)
_DOCTOR = ("-m", "edge.cli", "doctor", "--quick", "--json")


class _Doctor:
    """The doctor in a process of its own, one at a time: its checks change the environment."""

    def __init__(self) -> None:
        self.checked_at: float | None = None
        self.findings: list[Mapping[str, Any]] = []
        self._busy = asyncio.Lock()

    async def examine(self) -> str:
        """Check again; what went wrong, empty if nothing did."""
        async with self._busy:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_DOCTOR,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                output, _ = await asyncio.wait_for(process.communicate(), _LONGEST_S)
                self.findings = list(json.loads(output)["findings"])
            except asyncio.TimeoutError:
                return f"the checks took longer than {_LONGEST_S:.0f} s"
            except (ValueError, KeyError, TypeError):
                return "the checks could not be made: run 'edge-voice doctor' on the device"
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            self.checked_at = time.time()
        return ""


def routes(pages: Pages) -> list[BaseRoute]:
    """What this part serves."""
    doctor = _Doctor()

    def show(visit: Visit, error: str = "") -> Response:
        found = sorted(doctor.findings, key=lambda each: _ORDER.index(str(each["state"])))
        return visit.show(
            "checks.html",
            "Checks",
            status=503 if error else 200,
            error=words.sentence(error) if error else "",
            checked_at=doctor.checked_at,
            findings=[_shown(each) for each in found],
            evaluation=_evaluation(visit),
        )

    async def check(visit: Visit) -> Response:
        error = await doctor.examine()
        return show(visit, error) if error else visit.go("/checks", "Checked just now.")

    return [pages.page("/checks", show), pages.action("/checks/run", check)]


def _shown(finding: Mapping[str, Any]) -> dict[str, Any]:
    name = str(finding["name"]).replace("_", " ")
    return {
        "state": _STYLES[str(finding["state"])],
        "name": name[:1].upper() + name[1:],
        "found": words.sentence(str(finding["found"])),
        "remedy": words.sentence(str(finding["remedy"])) if finding["remedy"] else "",
    }


def _evaluation(visit: Visit) -> Mapping[str, Any] | None:
    """The summary of the latest evaluation; None where there is none that can be read."""
    with contextlib.suppress(StoreError, ValueError):
        found = json.loads(visit.context.state.get(SUMMARY_KEY) or "null")
        return found if isinstance(found, dict) else None
    return None
