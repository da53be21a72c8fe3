"""A real speech-to-text program, as people run it behind an assistant: wyoming-ovos-stt with
PocketSphinx, from PyPI, in an environment of its own.

It is set up for the sentences of a house: their words, and which word follows which. The whole of
English takes it seconds a sentence.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import socket
import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.integration.broker import free_port
from tests.integration.waiting import PATIENCE, settled

REPOSITORY = Path(__file__).resolve().parents[2]
SENTENCES = (
    "turn on the kitchen light",
    "turn off the kitchen light",
    "good night",
    "what time is it",
    "who am i",
    "open the garage door",
    "close the garage door",
)
_PLUGIN = "ovos-stt-plugin-pocketsphinx"


class PocketSphinx:
    """The program, on a loopback port. Use as a context manager.

    Args:
        folder: where its configuration goes, and what it logs.
    """

    def __init__(self, folder: Path) -> None:
        environment = REPOSITORY / ".venv-speech-to-text"
        self._program = environment / "bin/wyoming-ovos-stt"
        if not self._program.exists():
            pytest.fail("there is no speech-to-text program here; tools/test --all installs it")
        (models,) = environment.glob("lib/python*/site-packages/pocketsphinx/model/en-us")
        folder.mkdir(parents=True, exist_ok=True)
        language, dictionary = folder / "house.lm", folder / "house.dict"
        language.write_text(_language_model(SENTENCES))
        dictionary.write_text(_dictionary(models / "cmudict-en-us.dict", " ".join(SENTENCES)))
        chosen = {
            "acoustic-model": str(models / "en-us"),
            "language-model": str(language),
            "pronounciation-dictionary": str(dictionary),
        }
        configuration = folder / "mycroft/mycroft.conf"
        configuration.parent.mkdir(exist_ok=True)
        configuration.write_text(json.dumps({"lang": "en-US", "stt": {_PLUGIN: chosen}}))
        self._environment = {**os.environ, "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
        self.log = folder / "speech-to-text.log"
        self.port = free_port()

    @property
    def place(self) -> str:
        """Host and port, as the settings have it."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> PocketSphinx:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "--plugin-name", _PLUGIN, "--uri", f"tcp://{self.place}"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if not settled(self._answers):
            self.__exit__()
            pytest.fail(f"the speech-to-text program does not start: {self.log.read_text()}")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
        except OSError:
            return False
        return True


def _language_model(sentences: Iterable[str]) -> str:
    """A bigram model in the ARPA format, in which all sentences are equally likely."""
    pairs = Counter(
        pair
        for sentence in sentences
        for pair in itertools.pairwise(["<s>", *sentence.split(), "</s>"])
    )
    before = Counter[str]()
    for (word, _), count in pairs.items():
        before[word] += count
    words = sorted({word for pair in pairs for word in pair})
    alone = math.log10(1 / len(words))
    lines = ["\\data\\", f"ngram 1={len(words)}", f"ngram 2={len(pairs)}", "", "\\1-grams:"]
    lines += [f"{alone:.4f} {word} -1.0" for word in words]
    lines += ["", "\\2-grams:"]
    for (word, following), count in sorted(pairs.items()):
        lines.append(f"{math.log10(0.9 * count / before[word]):.4f} {word} {following}")
    return "\n".join([*lines, "", "\\end\\", ""])


def _dictionary(whole: Path, text: str) -> str:
    """How the words of a text are pronounced."""
    wanted = set(text.split())
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(
        line for line in lines if re.sub(r"\(\d+\)$", "", line.split(" ", 1)[0]) in wanted
    )
