"""A browser without a window, to see a page as people see it."""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.broker import find, free_port
from tests.integration.waiting import PATIENCE, settled

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def browser() -> str | None:
    """The program, or None where there is none (Debian: apt install chromium)."""
    return next(filter(None, map(find, _PROGRAMS)), None)


class Browser:
    """Chromium, told what to do over its debugging port on loopback. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._number = 0

    def __enter__(self) -> Browser:
        self._process = subprocess.Popen(
            [
                str(browser()), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--no-pings",
                "--hide-scrollbars", f"--user-data-dir={self._folder}",
                f"--remote-debugging-port={self._port}", "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert settled(lambda: self._page() is not None), "the browser does not start"
        from websockets.sync.client import connect  # not where only the other tests are run

        self._tab = connect(str(self._page()), max_size=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._tab.close()
        self._process.kill()
        self._process.wait()

    def open(self, address: str, width: int, height: int, *, dark: bool = False) -> None:
        """Go to a page, in a window of that size in pixels."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._tell("Emulation.setEmulatedMedia", features=[scheme])
        self._tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self._tell("Page.navigate", url=address)

    def text(self) -> str:
        """All that can be read on the page, also inside its web components."""
        answer = self._tell("Runtime.evaluate", expression=_READ, returnByValue=True)
        return str(answer.get("result", {}).get("value", ""))

    def wait_for(self, check: Callable[[str], bool]) -> str:
        """The text of the page once it is as wanted."""
        assert settled(lambda: check(self.text())), self.text()
        return self.text()

    def picture(self) -> bytes:
        """What is seen once nothing moves, as PNG."""
        seen = ""

        def rests() -> bool:
            nonlocal seen
            before, seen = seen, str(self._tell("Page.captureScreenshot").get("data"))
            return seen == before != "None"

        assert settled(rests)
        return base64.b64decode(seen)

    def _page(self) -> str | None:
        try:
            with _OPENER.open(f"http://127.0.0.1:{self._port}/json", timeout=PATIENCE) as answer:
                pages = [each for each in json.load(answer) if each["type"] == "page"]
        except OSError:
            return None
        return str(pages[0]["webSocketDebuggerUrl"]) if pages else None

    def _tell(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        self._tab.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._tab.recv(timeout=PATIENCE))
            if answer.get("id") == self._number:
                if answer.get("error", {}).get("message") == _BETWEEN_PAGES:
                    return {}
                assert "error" not in answer, answer
                return dict(answer["result"])


_BETWEEN_PAGES = "Inspected target navigated or closed"
"""What the browser answers while it goes to another page."""
_READ = """
(function read(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.textContent.trim();
  if (['STYLE', 'SCRIPT', 'TEMPLATE'].includes(node.nodeName)) return '';
  const inside = node.shadowRoot ? [node.shadowRoot, ...node.childNodes] : [...node.childNodes];
  return inside.map(read).filter(Boolean).join('\\n');
})(document.body)
"""
