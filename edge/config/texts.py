"""What is wrong with a text for what it is used for: a host, a topic, a time zone, a file, a name.

Settings are pasted: with the port in the host, with the quotes of a word processor, with spaces
that cannot be seen. What would be right is named only where it is the one thing that can be meant.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
import shlex
import unicodedata
from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo, available_timezones

_PAIRS = {
    '"': '"',
    "'": "'",
    "\u201c": "\u201d",
    "\u201e": "\u201c",
    "\u2018": "\u2019",
    "\u201a": "\u2018",
    "\xab": "\xbb",
    "\xbb": "\xab",
    "\u2039": "\u203a",
}
"""Opening and closing quotes, as word processors of several languages make them."""
_QUOTES = "".join({*_PAIRS.keys(), *_PAIRS.values(), "`", "\xb4"})
_TYPOGRAPHIC = "".join(sign for sign in _QUOTES if not sign.isascii())
_DASHES = "\u2010-\u2015\u2212"
_LABEL = re.compile(r"(?!-)[\w-]{1,63}(?<!-)")
_HOST_PORT = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]/@]+):(?P<port>[0-9]{1,5})")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<place>[^/]*)/?.*")
_ADDRESS = re.compile(
    r"""(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,15}://)(?P<place>[^\s/?#"']*)"""
    r"""(?P<rest>[/?#](?:[^\s"']*[^\s"':;,.)])?)?"""
)
_USER = re.compile(r"""(?<![^\s"'])[^\s/@:"']+:(?!//)[^\s"']+@""")
_NAMED = re.compile(
    r"(?i)((?<![a-z])(?:pass(?:word|wd)?|pwd|token|secret|key|authorization)[=:]\s*)\S.*"
)
_OFFSET = re.compile(rf"(UTC|GMT|Z)?\s*[+{_DASHES}-]\s*[0-9]{{1,2}}(:?[0-9]{{2}})?", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(\{|\(|[A-Za-z_])|%[A-Za-z_]+%")
_MOST_PORT = 65535
_MOST_HOST = 253
_MOST_PART_BYTES = 255
_MOST_SOCKET_BYTES = 107
_NO_SUMMER = ("EST", "MST", "HST")
"""Abbreviations of zones that never have summer time, which few of those who write them know."""


def fault(use: str, text: str) -> str | None:
    """What is wrong with a text for its use, one of `USES`, and what to write; None for nothing."""
    problem = _pasted(use, text)
    if problem is None:
        problem = USES[use](text)
    return problem


def without_secrets(text: str) -> str:
    """A text without what may be a password in it: of an address, or after such a name.

    Of an address only scheme and host stay: many cameras take the password in the path.
    """
    shown = _ADDRESS.sub(_shortened, text)
    return _NAMED.sub(r"\1***", _USER.sub("***@", shown))


def _shortened(address: re.Match[str]) -> str:
    scheme, place, rest = address["scheme"], address["place"], address["rest"] or ""
    if scheme.lower() == "file://":
        return address[0]
    if "@" in rest:  # the password itself may have a slash in it
        return f"{scheme}***"
    user, _, host = place.rpartition("@")
    return scheme + ("***@" if user else "") + host + ("/***" if rest.strip("/") else rest)


def _pasted(use: str, text: str) -> str | None:
    """What came along when the text was copied from elsewhere."""
    found = None
    lone = bool(text) and text[-1] in _TYPOGRAPHIC and not set(_TYPOGRAPHIC) & set(text[:-1])
    if text and (text[0] in _QUOTES or lone):
        found = "has quotes that belong to the value"
    odd = [letter for letter in text if letter != " " and _is_unseen(letter)]
    if odd:
        name = unicodedata.name(odd[0], f"U+{ord(odd[0]):04X}").lower()
        found = f"holds a character that cannot be seen ({name})"
    elif found is None and text != text.strip():
        found = "begins or ends with a space"
    if found is None:
        return None
    meant = _bare(text)
    sure = not any(_is_unseen(letter) and letter != " " for letter in meant)
    sure = sure and without_secrets(meant) == meant
    if sure and meant and meant != text and USES[use](meant) is None:
        return f"{found}; give {meant}"
    return f"{found}; type it anew"


def _is_unseen(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cf", "Zs", "Zl", "Zp")


def _bare(text: str) -> str:
    """A text without what surrounds it: spaces of all kinds, and one pair of quotes."""
    meant = text
    while meant and _is_unseen(meant[0]):
        meant = meant[1:]
    while meant and _is_unseen(meant[-1]):
        meant = meant[:-1]
    if len(meant) > 1 and (_PAIRS.get(meant[0]) == meant[-1] or meant[0] == meant[-1] in _QUOTES):
        return _bare(meant[1:-1])
    return meant


# --- hosts ---


def _host(text: str) -> str | None:
    url = _URL.fullmatch(text)
    if url is not None:
        secure = url["scheme"] in ("mqtts", "ssl", "wss")
        return _other_host("is a URL", url["place"], secure=secure)
    if text.startswith("[") or _HOST_PORT.fullmatch(text):
        what = "has a port in it" if _HOST_PORT.fullmatch(text) else "has brackets"
        return _other_host(what, text)
    if "@" in text or "/" in text:
        return "has more in it than a host; give the host alone"
    return _address(text) if ":" in text or re.fullmatch(r"[0-9.]+", text) else _name(text)


def _place(text: str) -> str | None:
    """A host and a port."""
    url = _URL.fullmatch(text)
    place = url["place"] if url else text
    split = _HOST_PORT.fullmatch(place)
    if split is None:
        return "has no port; give host:port"
    if not 0 < int(split["port"]) <= _MOST_PORT:
        return f"has no such port; give 1 to {_MOST_PORT}"
    return f"is a URL; give {place}" if url else _host(split["host"].strip("[]"))


def _other_host(what: str, place: str, *, secure: bool = False) -> str:
    """What to write for a host with something around it."""
    split = _HOST_PORT.fullmatch(place)
    host = (split["host"] if split else place).strip("[]")
    port = int(split["port"]) if split else None
    if not host or _host(host) is not None or (port is not None and not 0 < port <= _MOST_PORT):
        return f"{what}; give the host alone"
    also = [f"mqtt.port to {port}"] if port is not None else []
    also += ["mqtt.tls.enabled to true"] if secure else []
    return f"{what}; give {host}" + (f", and set {' and '.join(also)}" if also else "")


def _address(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        kind = "an IPv6 address" if text.count(":") > 1 else "a host name or an address"
        if ":" not in text:
            kind = "an address, which has four numbers from 0 to 255"
        return f"is not {kind}; give the broker's host name or address"
    if address.is_unspecified:
        local = "127.0.0.1" if address.version == 4 else "::1"
        return f"is where a broker listens; give {local} for this machine"
    if address.is_multicast or text == "255.255.255.255":
        return "is the address of many; give the broker's own"
    return None


def _name(text: str) -> str | None:
    labels = text.removesuffix(".").split(".")
    if len(text) > _MOST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        return "is not a host name; give letters, digits and - between single dots"
    if labels[-1].isdigit():
        return "is neither a host name nor an address; give one of them"
    try:
        text.encode("idna")
    except UnicodeError:
        return "is not a host name; give letters, digits and - between single dots"
    return None


def _own_address(text: str) -> str | None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return "is not an address; give 127.0.0.1 or ::1"
    return None


# --- topics, zones, hours ---


def _topic(text: str) -> str | None:
    if "#" in text or "+" in text:
        return "has a wildcard, which only subscriptions have; give it without + and #"
    if text.startswith("$"):
        return "is reserved for the broker, as all that begins with $; choose another"
    meant = text.strip("/")
    if meant != text:
        return "begins or ends with a slash" + (f"; give {meant}" if meant else "")
    if "//" in text:
        return "has an empty level between two slashes; give single ones"
    return None


@functools.cache
def _zones() -> Mapping[str, str]:
    """Every zone, by its name in small letters, and by its last part where that is the only one."""
    zones = available_timezones()
    places: dict[str, list[str]] = {}
    for zone in zones:
        places.setdefault(zone.rpartition("/")[2].lower(), []).append(zone)
    alone = {place: found[0] for place, found in places.items() if len(found) == 1}
    return {**alone, **{zone.lower(): zone for zone in zones}}


def _zone(text: str) -> str | None:
    place = "the place, such as Europe/Berlin"
    if _OFFSET.fullmatch(text):
        return f"is an offset, which knows no summer time; give {place}"
    if text in _NO_SUMMER:
        return f"is an abbreviation that has no summer time; give {place}"
    if is_zone(text):
        return None
    meant = _zones().get(text.replace(" ", "_").lower())
    if meant is not None and meant not in _NO_SUMMER:
        return f"is not how the zone is written; give {meant}"
    if re.fullmatch(r"[A-Z]{2,5}", text):
        return f"is an abbreviation, which several places share; give {place}"
    return f"is no time zone here; give {place}, or UTC"


def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a folder of zones is an OSError
        return False
    return True


def _hours(text: str) -> str | None:
    meant = re.sub(rf"\s*[{_DASHES}-]\s*", "-", text)
    if re.fullmatch(r"[0-9]:[0-9]{2}-.*", meant):
        meant = f"0{meant}"
    meant = re.sub(r"-([0-9]:[0-9]{2})$", r"-0\1", meant)
    hour = r"([01][0-9]|2[0-3]):[0-5][0-9]"
    if not re.fullmatch(f"{hour}-{hour}", meant):
        return "is not two times; give them as 22:00-06:00"
    if meant[:5] == meant[6:]:
        return "begins and ends at the same time; give two times such as 22:00-06:00"
    return None if meant == text else f"is not how hours are written; give {meant}"


# --- files ---


def _file(text: str) -> str | None:
    if text.endswith(("/", "/.", "/..")) or text in (".", ".."):
        return "is the name of a folder; give that of a file"
    return _path(text)


def _socket(text: str) -> str | None:
    if len(os.fsencode(text)) > _MOST_SOCKET_BYTES:
        return f"is longer than a socket's path can be ({_MOST_SOCKET_BYTES} bytes); shorten it"
    return _file(text)


def _path(text: str) -> str | None:
    if text.lower().startswith("file:"):
        meant = re.sub(r"(?i)^file:(//(localhost)?(?=/))?", "", text)
        sure = re.match(r"/(?!/)", meant) is not None and "%" not in meant
        return "is a URL; give " + (meant if sure else "the path alone")
    if any(len(os.fsencode(part)) > _MOST_PART_BYTES for part in text.split("/")):
        return f"has a part longer than {_MOST_PART_BYTES} bytes; shorten it"
    return next((problem for form, problem in _NO_PATHS if form.search(text)), None)


_NO_PATHS = (
    (re.compile("-----BEGIN "), "is the content itself; give the name of the file that holds it"),
    (re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://"), "is a URL; give the name of a file here"),
    (re.compile(r"^[A-Za-z]:\\"), "is a path of Windows; give one of this machine"),
    (_VARIABLE, "has a variable in it, which nothing replaces; give the whole path"),
)
"""What is not the name of a file, and what to write."""


def _source(text: str) -> str | None:
    if text.lower().startswith("wyoming:"):
        return _wyoming(text)
    try:
        program = next(iter(shlex.split(text)), "")
    except ValueError:
        return "has a quotation mark without its other half; add it"
    if not program:
        return "names no program; give one and its arguments"
    if "://" in program:
        return "is an address, not a program; give one that reads it, such as ffmpeg -i ADDRESS"
    found = re.search(r"(?<=\s)(\||\|\||&|&&|;|>|<|2>|2>&1)(?=\s|$)", text)
    if found is not None:
        return f"has {found[0]} in it, which only a shell obeys; give one program, or a script"
    return None


def _wyoming(text: str) -> str | None:
    place = re.fullmatch(r"wyoming://(?P<host>\[[^\]]*\]|[^:\[\]/@]+):(?P<port>[0-9]{1,5})", text)
    if place is None or not 0 < int(place["port"]) <= _MOST_PORT:
        return "is not wyoming://HOST:PORT; the port of a satellite is usually 10700"
    return _host(place["host"].strip("[]"))


def _any(_: str) -> str | None:
    return None


USES: Mapping[str, Callable[[str], str | None]] = {
    "host": _host,
    "place": _place,
    "address": _own_address,
    "topic": _topic,
    "zone": _zone,
    "hours": _hours,
    "file": _file,
    "folder": _path,
    "socket": _socket,
    "source": _source,
    "word": _any,  # nothing that is pasted along, and no more
}
"""What a text can be used for; without a use it is free, as a display name is."""
