"""Finds the configuration file, reads it, and reports every mistake in it at once."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from edge.config.settings import Config, Setting, all_settings, children, home_directory
from edge.config.texts import fault
from edge.config.values import ValueProblem, convert, is_empty, quoted
from edge.errors import ConfigError
from edge.private_files import locate

MAX_BYTES = 64 * 1024
_MAX_DEPTH = 8
MOST_SECTIONS = 16
"""Of one kind, such as microphones."""
VARIABLE = "EDGE_VOICE_CONFIG"
SYSTEM_FILE = Path("/etc/edge-voice/config.yaml")
_MAX_SUGGESTIONS = 50
_CREDENTIALS = ("signing.key_file", "commands.keys_file", "mqtt.password_file", "http.key_file")
"""Settings whose file may be one of the service's systemd credentials."""


class DocumentError(Exception):
    """The text cannot be read as a document; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Refuses what settings have no use for, and attackers have: aliases, tags, deep nesting."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # as types-PyYAML has it
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise DocumentError(line, "anchors (&) and aliases (*) are not allowed; write it out")
        if getattr(event, "tag", None):
            raise DocumentError(line, "tags (!) are not allowed; write the value alone")
        if self.depth >= _MAX_DEPTH:
            raise DocumentError(line, "nested too deeply; see the commented example")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def compose(data: bytes) -> yaml.Node | None:
    """Parse a YAML document, UTF-8, up to `MAX_BYTES`; None if empty. Raises `DocumentError`."""
    if len(data) > MAX_BYTES:
        raise DocumentError(1, f"longer than {MAX_BYTES // 1024} KiB; not a configuration")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(line, "not UTF-8 text; save the file as UTF-8") from None
    try:
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentError(line, "a control character; remove it") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise DocumentError(line, _explain(error)) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        raise DocumentError(1, "not YAML; see the commented example") from None
    return node


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join((error.problem or "cannot be read").split())[:120]
    if r"'\t'" in problem:
        return "a tab; YAML is indented with spaces"
    if "expected a single document" in (error.context or ""):
        return "a second document (---) begins; one file holds one"
    return f"not YAML: {problem}; check indentation, colons and quotes"


def find_config(path: Path | None = None) -> Path | None:
    """`path`, else $EDGE_VOICE_CONFIG, else the system's file, else the user's, else None."""
    if path is not None:
        return path
    named = os.environ.get(VARIABLE, "")
    if named:
        return Path(named)
    own = user_file()
    files = [SYSTEM_FILE] if own is None else [SYSTEM_FILE, own]
    # lexists, not exists: a dangling link or a closed folder must be reported, not passed over.
    return next((file for file in files if os.path.lexists(file)), None)


def user_file() -> Path | None:
    """Where this user's own configuration file is, or would be; None without a home directory."""
    given, home = os.environ.get("XDG_CONFIG_HOME", ""), home_directory()
    folder = Path(given) if given else home and home / ".config"
    return folder / "edge-voice" / "config.yaml" if folder else None


def load_config(path: Path | None = None) -> Config:
    """Read the settings from a file (see `find_config`), or the defaults without one.

    Relative paths in the file are taken from the file's own folder.

    Raises:
        ConfigError: the file cannot be read, or holds a mistake; `problems` names each of them.
    """
    file = find_config(path)
    if file is None:
        return Config()
    return parse_config(read_config(file), file)


def parse_config(data: bytes, file: Path) -> Config:
    """Read settings from bytes of a file, which anchors relative paths. Raises `ConfigError`."""
    try:
        root = compose(data)
    except DocumentError as error:
        raise ConfigError(f"{file}:{error.line}: {error}") from None
    builder = _Builder(file)
    config = builder.build(root)
    if builder.problems:
        found = sorted(builder.problems, key=lambda problem: problem[0])
        raise ConfigError(*(f"{file}:{line}: {text}" for line, text in found), file=file)
    return config


def read_config(file: Path) -> bytes:
    """The content of a configuration file, one byte more than allowed at most."""
    try:
        # Looked at before it is opened: opening a named pipe would wait for a writer.
        if not stat.S_ISREG(file.stat().st_mode):
            raise ConfigError(f"{file}: not a regular file; name a YAML file")
        with file.open("rb") as handle:
            return handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: no such file; create it, or name another with --config or ${VARIABLE}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable file name"
        raise ConfigError(f"{file}: cannot be read ({reason}); check its permissions") from None


class _Builder:
    """Walks the nodes beside the table of settings, and collects problems as it goes."""

    def __init__(self, file: Path) -> None:
        self.folder = file.parent
        self.problems: list[tuple[int, str]] = []
        self.lines: dict[str, int] = {}
        self.suggestions = 0

    def build(self, root: yaml.Node | None) -> Config:
        config: Config = self._group(root, Config, "")
        if not self.problems:
            for path, text in _contradictions(config):
                self._report(self._line_of(path), path, text)
        return config

    def _group(self, node: yaml.Node | None, kind: type, path: str) -> Any:
        if node is None or is_empty(node):
            return kind()
        rows = children(kind, path)
        if not isinstance(node, yaml.MappingNode):
            some = ", ".join(list(rows)[:3])
            text = f"must be a group of keys; give `key: value` lines, such as {some}"
            self._report(line_of(node), path, text)
            return kind()
        values: dict[str, Any] = {}
        seen: dict[str, int] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            where = f"{path}.{name}" if path else name
            row = rows.get(name)
            if row is None:
                self._report(line_of(key), path, self._unknown(name, rows, path))
            elif name in seen:
                text = f"given twice (first in line {seen[name]}); keep one of them"
                self._report(line_of(key), where, text)
            else:
                seen[name] = self.lines[where] = line_of(key)
                self._take(row, value, name, values)
        return kind(**values)

    def _several(self, node: yaml.Node, row: Setting) -> dict[str, Any]:
        """The sections of one kind, by their keys."""
        if is_empty(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            text = "must be a group of names; give `name:` lines, each with its keys below it"
            self._report(line_of(node), row.path, text)
            return {}
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            where = f"{row.path}.{name}"
            problem = fault(row.rule.use, name)
            if problem is not None or not re.fullmatch(row.rule.pattern, name):
                problem = problem or f"cannot be a name; give {row.rule.pattern_doc}"
                self._report(line_of(key), row.path, f"{quoted(name)} {problem}")
            elif name in found:
                text = f"given twice (first in line {self.lines[where]}); keep one of them"
                self._report(line_of(key), where, text)
            elif len(found) >= MOST_SECTIONS:
                self._report(line_of(key), row.path, f"more than {MOST_SECTIONS}; leave some out")
                break
            else:
                self.lines[where] = line_of(key)
                found[name] = self._group(value, row.kind, where)
        return found

    def _take(self, row: Setting, node: yaml.Node, name: str, values: dict[str, Any]) -> None:
        if row.several:
            values[name] = self._several(node, row)
            return
        if row.is_section:
            values[name] = self._group(node, row.kind, row.path)
            return
        try:
            value = convert(node, row)
            if isinstance(value, Path):
                if not (row.path in _CREDENTIALS and locate(value) != value):
                    value = self.folder / value
                _check_kind(value, row)
        except ValueProblem as problem:
            self._report(line_of(node), row.path, str(problem))
            return
        except RuntimeError:  # pathlib's word for a home directory that does not exist
            self._report(line_of(node), row.path, "no such home directory; give a full path")
            return
        values[name] = value

    def _unknown(self, name: str, rows: dict[str, Setting], path: str) -> str:
        if not name:
            return "a key must be a word; see the commented example"
        text = f"unknown key {quoted(name)}"
        self.suggestions += 1
        if self.suggestions > _MAX_SUGGESTIONS:  # each costs a comparison with every setting
            return text
        near = difflib.get_close_matches(name[:64].lower(), list(rows), n=1)
        if near:
            return f"{text}; did you mean {near[0]}?"
        elsewhere = [row.path for row in all_settings() if row.path.split(".")[-1] == name]
        if elsewhere:
            return f"{text}; did you mean {' or '.join(elsewhere)}?"
        return f"{text}; {path or 'the top level'} knows {', '.join(rows)}"

    def _report(self, line: int, path: str, text: str) -> None:
        self.problems.append((line, f"{path}: {text}" if path else text))

    def _line_of(self, path: str) -> int:
        while path and path not in self.lines:
            path = path.rpartition(".")[0]
        return self.lines.get(path, 1)


def line_of(node: yaml.Node) -> int:
    """The line in which a node begins, from 1."""
    return int(node.start_mark.line) + 1


def _check_kind(path: Path, row: Setting) -> None:
    """Raise `ValueProblem` where a folder is where a file should be, or the other way round."""
    wants_folder, shown = row.rule.use == "folder", quoted(str(path))
    with contextlib.suppress(OSError, ValueError):  # it may not be looked at
        if wants_folder and path.exists() and not path.is_dir():
            raise ValueProblem(f"{shown} is a file; give the name of a folder")
        if not wants_folder and path.is_dir():
            raise ValueProblem(f"{shown} is a folder; give the name of a file")


def _contradictions(config: Config) -> Iterator[tuple[str, str]]:
    """Values that are fine alone and impossible together."""
    mqtt, tls = config.mqtt, config.mqtt.tls
    if not config.metrics.stays_here:
        text = (
            f"{config.metrics.address} can be reached from other machines, and the figures tell"
            " when people come and go; give 127.0.0.1 or ::1, and let the collector run here"
        )
        yield "metrics.address", text
    if config.device.id in config.microphones:
        yield f"microphones.{config.device.id}", "the name of device.id; give another"
    yield from _of_assistants(config)
    if config.recognition.min_net_speech_s >= config.audio.max_utterance_s:
        longest = f"{config.audio.max_utterance_s:g}"
        text = f"no utterance is that long; give less than audio.max_utterance_s ({longest})"
        yield "recognition.min_net_speech_s", text
    here = mqtt.enabled and mqtt.host in ("localhost", "127.0.0.1", "::1")
    if here and config.metrics.enabled and config.metrics.port == mqtt.broker_port:
        yield "metrics.port", "the broker on this machine has this port; give another"
    lockout = config.lockout
    if lockout.longest_s < lockout.first_s:
        text = f"shorter than the first; give at least lockout.first_s ({lockout.first_s:g})"
        yield "lockout.longest_s", text
    if mqtt.password_file is not None and mqtt.username is None:
        yield "mqtt.password_file", "a password without a user; set mqtt.username too"
    if (tls.cert_file is None) != (tls.key_file is None):
        present = "cert_file" if tls.cert_file else "key_file"
        yield f"mqtt.tls.{present}", "half of a pair; set cert_file and key_file, or neither"
    if config.http.key_file is not None and config.http.cert_file is None:
        yield "http.key_file", "the key of no certificate; set http.cert_file too"
    files = [name for name in ("ca_file", "cert_file", "key_file") if getattr(tls, name)]
    if files and not tls.enabled:
        yield f"mqtt.tls.{files[0]}", "has no effect without TLS; set mqtt.tls.enabled to true"


def _of_assistants(config: Config) -> Iterator[tuple[str, str]]:
    ports: dict[int, str] = {}
    for name, assistant in config.wyoming.assistants.items():
        path = f"wyoming.assistants.{name}"
        if name == config.device.id or name in config.microphones:
            taken = "device.id" if name == config.device.id else "a microphone"
            yield path, f"the name of {taken}; give another"
        if assistant.port in ports:
            yield f"{path}.port", f"the port of {ports[assistant.port]}; give another"
        ports[assistant.port] = name
        host, port = assistant.program
        if port == assistant.port and host in ("localhost", "127.0.0.1", "::1"):
            yield f"{path}.speech_to_text", "its own port; give that of the speech-to-text program"
        if assistant.people is not None and assistant.gate == "open":
            yield f"{path}.people", "has no effect with an open gate; set gate to enrolled"
