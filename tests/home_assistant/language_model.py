"""What Home Assistant tells a language model: a server for its Ollama integration that keeps it."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

ANSWER = "Very well."
MODEL = "kept:latest"


class LanguageModel:
    """The server, on a loopback port. Use as a context manager.

    Attributes:
        asked: the messages of each question, the oldest first.
    """

    def __init__(self) -> None:
        self.asked: list[list[dict[str, Any]]] = []
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({"models": [{"model": MODEL}]})

            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.asked.append(question["messages"])
                message = {"role": "assistant", "content": ANSWER}
                self._answer({"model": MODEL, "message": message, "done": True})

            def _answer(self, content: dict[str, Any]) -> None:
                text = json.dumps(content).encode() + b"\n"
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def instructions(self) -> str:
        """The system prompt of the latest question."""
        return "\n".join(each["content"] for each in self.asked[-1] if each["role"] == "system")

    @property
    def question(self) -> str:
        """What the person said at last."""
        return str([each["content"] for each in self.asked[-1] if each["role"] == "user"][-1])

    def __enter__(self) -> LanguageModel:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
