"""Each text setting is judged as what it is used for, with what people paste into it."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from edge.config import all_settings, parse_config
from edge.config.texts import USES, fault, without_secrets
from edge.errors import ConfigError

RIGHT = {
    "host": (
        "localhost", "broker.lan", "broker.lan.", "my_host", "xn--mnchen-3ya.de", "münchen.de",
        "192.168.1.7", "::1", "fe80::1%eth0", "4.example", "a" * 63,
    ),
    "address": ("127.0.0.1", "::1"),
    "topic": ("edge-voice", "home/voice/1", "zu Hause", "a" * 200),
    "zone": ("Europe/Berlin", "America/New_York", "UTC", "CET", "Etc/GMT+1"),
    "hours": ("22:00-06:00", "00:00-23:59"),
    "file": ("/a/b", "a", "~/a b", "..a", "/a%b", "/cost$", "/a:b", "é" * 127),
    "folder": ("/a/", ".", "..", "~"),
    "socket": ("/" + "x" * 106,),
    "word": ("door", "Ada's", "USB 2\"", "Tür (hw:1,0)"),
}  # fmt: skip


@pytest.mark.parametrize(("use", "text"), [(use, text) for use in RIGHT for text in RIGHT[use]])
def test_what_is_right(use: str, text: str) -> None:
    assert fault(use, text) is None


NAME = "is not a host name; give letters, digits and - between single dots"
FOUR = (
    "is not an address, which has four numbers from 0 to 255; "
    "give the broker's host name or address"
)
PLACE = "give the place, such as Europe/Berlin"
UNSEEN = "holds a character that cannot be seen"


@pytest.mark.parametrize(
    ("use", "text", "said"),
    [
        ("place", "whisper", "has no port; give host:port"),
        ("place", "tcp://whisper:10300", "is a URL; give whisper:10300"),
        ("place", "whisper:0", "has no such port; give 1 to 65535"),
        (
            "place",
            "-x-:10300",
            "is not a host name; give letters, digits and - between single dots",
        ),
        ("host", "broker.lan:1883", "has a port in it; give broker.lan, and set mqtt.port to 1883"),
        ("host", "[::1]:1883", "has a port in it; give ::1, and set mqtt.port to 1883"),
        ("host", "[::1]", "has brackets; give ::1"),
        ("host", "[::1", "has brackets; give ::1"),
        ("host", "[x y]", "has brackets; give the host alone"),
        ("host", "b.lan:0", "has a port in it; give the host alone"),
        ("host", "b.lan:65536", "has a port in it; give the host alone"),
        ("host", "b.lan:65535", "has a port in it; give b.lan, and set mqtt.port to 65535"),
        ("host", "mqtt://b.lan", "is a URL; give b.lan"),
        ("host", "mqtt://b.lan:1884/x", "is a URL; give b.lan, and set mqtt.port to 1884"),
        ("host", "mqtts://b.lan", "is a URL; give b.lan, and set mqtt.tls.enabled to true"),
        (
            "host",
            "mqtts://b.lan:8883",
            "is a URL; give b.lan, and set mqtt.port to 8883 and mqtt.tls.enabled to true",
        ),
        ("host", "mqtt://door@b.lan", "is a URL; give the host alone"),
        ("host", "http://", "is a URL; give the host alone"),
        ("host", "door@b.lan", "has more in it than a host; give the host alone"),
        ("host", "b.lan/", "has more in it than a host; give the host alone"),
        (
            "host",
            "1.2.3.4:abc",
            "is not a host name or an address; give the broker's host name or address",
        ),
        ("host", "a:b:c", "is not an IPv6 address; give the broker's host name or address"),
        ("host", "1.2.3", FOUR),
        ("host", "1.2.3.256", FOUR),
        ("host", "1883", FOUR),
        ("host", "broker.1", "is neither a host name nor an address; give one of them"),
        ("host", str(IPv4Address(0)), "is where a broker listens; give 127.0.0.1 for this machine"),
        ("host", "::", "is where a broker listens; give ::1 for this machine"),
        ("host", "224.0.0.1", "is the address of many; give the broker's own"),
        ("host", "255.255.255.255", "is the address of many; give the broker's own"),
        ("host", "-a", NAME),
        ("host", "a-", NAME),
        ("host", "a..b", NAME),
        ("host", "a b", NAME),
        ("host", "a,b", NAME),
        ("host", "a" * 64, NAME),
        ("host", ".".join(["a" * 60] * 5), NAME),
        ("host", "ü" * 60, NAME),
        ("host", "\u201cb.lan\u201d", "has quotes that belong to the value; give b.lan"),
        ("host", "\u201eb.lan\u201c", "has quotes that belong to the value; give b.lan"),
        ("host", "'b.lan'", "has quotes that belong to the value; give b.lan"),
        ("host", "\u201cb.lan", "has quotes that belong to the value; type it anew"),
        ("host", " b.lan", "begins or ends with a space; give b.lan"),
        ("host", "b.lan\xa0", f"{UNSEEN} (no-break space); give b.lan"),
        ("host", "b.lan:1\xa0", f"{UNSEEN} (no-break space); type it anew"),
        ("host", "b\u200b.lan", f"{UNSEEN} (zero width space); type it anew"),
        ("address", "localhost", "is not an address; give 127.0.0.1 or ::1"),
        ("topic", "/a", "begins or ends with a slash; give a"),
        ("topic", "a/", "begins or ends with a slash; give a"),
        ("topic", "/", "begins or ends with a slash"),
        ("topic", "a//b", "has an empty level between two slashes; give single ones"),
        ("topic", "a/+", "has a wildcard, which only subscriptions have; give it without + and #"),
        ("topic", "$a", "is reserved for the broker, as all that begins with $; choose another"),
        ("topic", "a\xa0b", f"{UNSEEN} (no-break space); type it anew"),
        ("zone", "europe/berlin", "is not how the zone is written; give Europe/Berlin"),
        ("zone", "America/New York", "is not how the zone is written; give America/New_York"),
        ("zone", "Berlin", "is not how the zone is written; give Europe/Berlin"),
        ("zone", "utc", "is not how the zone is written; give UTC"),
        ("zone", "CEST", f"is an abbreviation, which several places share; {PLACE}"),
        ("zone", "EST", f"is an abbreviation that has no summer time; {PLACE}"),
        ("zone", "est", f"is no time zone here; {PLACE}, or UTC"),
        ("zone", "UTC+1", f"is an offset, which knows no summer time; {PLACE}"),
        ("zone", "+01:00", f"is an offset, which knows no summer time; {PLACE}"),
        ("zone", "GMT \u2212 5", f"is an offset, which knows no summer time; {PLACE}"),
        # The nearest in letters is Zurich, and another is meant.
        ("zone", "Europe/Munich", f"is no time zone here; {PLACE}, or UTC"),
        ("zone", "Europe", f"is no time zone here; {PLACE}, or UTC"),
        ("hours", "22:00\u201306:00", "is not how hours are written; give 22:00-06:00"),
        ("hours", "9:00 - 6:30", "is not how hours are written; give 09:00-06:30"),
        ("hours", "22-6", "is not two times; give them as 22:00-06:00"),
        ("hours", "24:00-06:00", "is not two times; give them as 22:00-06:00"),
        (
            "hours",
            "22:00-22:00",
            "begins and ends at the same time; give two times such as 22:00-06:00",
        ),
        ("file", "/a/", "is the name of a folder; give that of a file"),
        ("file", "/a/..", "is the name of a folder; give that of a file"),
        ("file", ".", "is the name of a folder; give that of a file"),
        ("file", "file:///a", "is a URL; give /a"),
        ("file", "file:/a", "is a URL; give /a"),
        ("file", "file://localhost/a", "is a URL; give /a"),
        ("file", "file:///a%20b", "is a URL; give the path alone"),
        ("file", "file://there/a", "is a URL; give the path alone"),
        ("file", "https://a/b", "is a URL; give the name of a file here"),
        ("file", "C:\\a", "is a path of Windows; give one of this machine"),
        ("file", "$HOME/a", "has a variable in it, which nothing replaces; give the whole path"),
        ("file", "/a/${B}", "has a variable in it, which nothing replaces; give the whole path"),
        ("file", "%APPDATA%", "has a variable in it, which nothing replaces; give the whole path"),
        (
            "file",
            "-----BEGIN CERTIFICATE-----",
            "is the content itself; give the name of the file that holds it",
        ),
        ("file", "a/" + "é" * 128, "has a part longer than 255 bytes; shorten it"),
        ("file", "\xab/a\xbb", "has quotes that belong to the value; give /a"),
        ("folder", "$HOME", "has a variable in it, which nothing replaces; give the whole path"),
        (
            "socket",
            "/" + "x" * 107,
            "is longer than a socket's path can be (107 bytes); shorten it",
        ),
        ("socket", "/a/", "is the name of a folder; give that of a file"),
        ("word", "\u2018door\u2019", "has quotes that belong to the value; give door"),
        ("word", '"door"', "has quotes that belong to the value; give door"),
        ("word", "' door '", "has quotes that belong to the value; give door"),
        ("word", "door\u2060", f"{UNSEEN} (word joiner); give door"),
        ("word", "a\xa0b", f"{UNSEEN} (no-break space); type it anew"),
        ("word", "' '", "has quotes that belong to the value; type it anew"),
    ],
)
def test_what_is_wrong_and_what_is_surely_meant(use: str, text: str, said: str) -> None:
    assert fault(use, text) == said


def test_every_setting_has_a_use_that_is_known() -> None:
    uses = {row.path: row.rule.use for row in all_settings() if row.rule.use}
    assert set(uses.values()) <= set(USES)
    assert uses["mqtt.host"] == "host"
    free = {
        row.path
        for row in all_settings()
        if "str" in str(row.kind)
        and not row.rule.use
        and not row.rule.choices
        and not row.is_section
    }
    names = {"wyoming.assistants.ID.name", "wyoming.assistants.ID.people"}
    assert free == {"device.name", "microphones.ID.name", *names}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:secret@camera/1", "rtsp://***@camera/***"),
        ("rtsp://me:se@cret@camera:554: refused", "rtsp://***@camera:554: refused"),
        ("rtsp://me:se/cret@camera/1: refused", "rtsp://***: refused"),
        ("rtsp://camera:554/user=me&password=se@cret&channel=1", "rtsp://***"),
        ("'rtsp://camera/user=me_secret_1.sdp': no such host", "'rtsp://camera/***': no such host"),
        ("http://camera/audio?token=secret", "http://camera/***"),
        ("HTTPS://camera/ and rtsp://me:secret@b", "HTTPS://camera/ and rtsp://***@b"),
        ("me:secret@camera", "***@camera"),
        ("bad password: secret word", "bad password: ***"),
        ("api_key=secret", "api_key=***"),
        ("Authorization: Basic secret", "Authorization: ***"),
        ("file:///var/lib/sound.wav", "file:///var/lib/sound.wav"),
        ("hw:CARD=USB,DEV=0: no such device", "hw:CARD=USB,DEV=0: no such device"),
        ("monkey: none", "monkey: none"),
    ],
)
def test_a_text_without_what_may_be_a_password(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize("part", ["a:", "a", "a@", "://", "a://", "/", "password", "password= "])
def test_a_long_text_takes_no_longer_for_what_is_in_it(part: str) -> None:
    # A device on the network may have a program say anything; this took minutes.
    assert without_secrets(part * 50_000)


@pytest.mark.parametrize("mistake", ['"', " | sox", "\u200b", "\x1b", "\u201d"])
@pytest.mark.parametrize("address", ["rtsp://me:secret@camera/1", "rtsp://camera/p=secret"])
def test_no_mistake_tells_a_password(address: str, mistake: str) -> None:
    text = yaml.safe_dump({"audio": {"source": f"ffmpeg -i {address}{mistake}"}})
    with pytest.raises(ConfigError) as raised:
        parse_config(text.encode(), Path("config.yaml"))
    assert "secret" not in str(raised.value)
    assert "audio.source: 'ffmpeg -i rtsp://" in str(raised.value)


def test_an_address_is_no_program() -> None:
    assert fault("source", "rtsp://me:secret@camera/1") == (
        "is an address, not a program; give one that reads it, such as ffmpeg -i ADDRESS"
    )
