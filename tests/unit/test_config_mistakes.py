"""Every mistake in a configuration names its file, line and key, and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import Config, all_settings, parse_config
from edge.errors import ConfigError

FILE = Path("config.yaml")


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text.encode(), FILE)
    for problem in caught.value.problems:
        assert "\n" not in problem
        assert len(problem) < 400
    return caught.value.problems


def problem(text: str) -> str:
    found = problems(text)
    assert len(found) == 1
    return found[0]


def complaints(data: bytes) -> tuple[str, ...]:
    """Every line of complaint, none when the settings were read."""
    try:
        config = parse_config(data, FILE)
    except ConfigError as error:
        lines = error.problems
    else:
        assert isinstance(config, Config)
        return ()
    assert lines
    assert not any("\n" in line for line in lines)
    return lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("audio: {end_silense_s: 1}", "audio: unknown key 'end_silense_s'; did you mean end_s"),
        ("Audio: {}", "unknown key 'Audio'; did you mean audio?"),
        ("host: example.org", "unknown key 'host'; did you mean mqtt.host?"),
        (
            "enabled: true",
            (
                "unknown key 'enabled'; did you mean identification.enabled or lockout.enabled"
                " or replay.enabled"
                " or mqtt.enabled or mqtt.tls.enabled or monitor.enabled"
                " or metrics.enabled?"
            ),
        ),
        ("mqtt: {password: secret}", "mqtt: unknown key 'password'; did you mean password_file?"),
        (
            "access: {xyz: 1}",
            "access: unknown key 'xyz'; access knows in_running_speech, decision_lifetime_s",
        ),
        ("<<: {}", "unknown key '<<'"),
        ("[a]: 1", "a key must be a word"),
        (
            "security: {false_accept_rate: lax}",
            "'lax' is unknown; give one of relaxed, balanced, strict, or a number from 1e-06 to",
        ),
        ("security: {false_accept_rate: 0}", "0 is too small; give one of relaxed"),
        ("security: {false_accept_rate: '0.01'}", "'0.01' is text because of its quotes"),
        ("security: {false_accept_rate: 0.1 %}", "'0.1 %' has a unit after it"),
        ("audio: 5", "audio: must be a group of keys"),
        ("audio: [ring_s]", "audio: must be a group of keys"),
        ("- audio", "must be a group of keys"),
        ("just text", "must be a group of keys"),
        ("audio: {ring_s: [20]}", "audio.ring_s: a list is not possible here; give a number"),
        ("audio: {ring_s: {s: 20}}", "audio.ring_s: a group of keys is not possible here"),
        ("audio: {ring_s: }", "audio.ring_s: has no value; give a number from 10 to 120 (s)"),
        ("audio: {ring_s: long}", "'long' is not a number; give a number from 10 to 120"),
        ("audio: {ring_s: true}", "'true' is not a number"),
        ("audio: {ring_s: '20'}", "'20' is text because of its quotes"),
        ("audio: {ring_s: .nan}", "'.nan' is not a number to work with"),
        ("audio: {ring_s: -.inf}", "'-.inf' is not a number to work with"),
        ("audio: {ring_s: 1e999}", "too large"),
        ("audio:\n  ring_s: 20,5", "'20,5' has a comma for its point"),
        ("audio: {ring_s: 20 s}", "'20 s' has a unit after it"),
        ("audio: {ring_s: 1_000}", "'1_000' is not a number"),
        ("audio: {ring_s: 0x20}", "'0x20' is not a number"),
        ("audio: {ring_s: 1:30}", "'1:30' is not a number"),
        ("audio: {ring_s: 9.99}", "9.99 is too small; give a number from 10 to 120 (s), such as"),
        ("audio: {ring_s: 121}", "121 is too large"),
        ("audio: {device: -1}", "-1 is too small"),
        ("recognition: {threads: 1.5}", "'1.5' is not a whole number"),
        ("recognition: {threads: 1e0}", "'1e0' is not a whole number"),
        ("recognition: {threads: yes}", "'yes' is not a whole number"),
        ("mqtt: {port: 01883}", "'01883' begins with a zero, octal to YAML"),
        ("mqtt: {port: 0}", "0 is too small; give a whole number from 1 to 65535"),
        ("mqtt: {port: 65536}", "65536 is too large"),
        ("mqtt: {enabled: 1}", "'1' is neither true nor false; give true or false"),
        ("mqtt: {enabled: 'true'}", "'true' is neither true nor false"),
        ("mqtt: {host: 'mqtt://x'}", "mqtt.host: 'mqtt://x' is a URL; give x"),
        ("mqtt: {host: ''}", "mqtt.host: '' cannot be used"),
        ("mqtt: {base_topic: a//b}", "mqtt.base_topic: 'a//b' has an empty level"),
        ("mqtt: {base_topic: 'a/#'}", "mqtt.base_topic: 'a/#' has a wildcard"),
        ("mqtt: {base_topic: $SYS/x}", "mqtt.base_topic: '$SYS/x' is reserved"),
        ("mqtt: {base_topic: /a}", "mqtt.base_topic: '/a' begins or ends with a slash; give a"),
        ("homeassistant: {prefix: a/}", "homeassistant.prefix: 'a/' begins or ends with a slash"),
        ("access: {time_zone: CEST}", "access.time_zone: 'CEST' is an abbreviation"),
        ("challenge: {hours: 22:00 - 06:00}", "challenge.hours: '22:00 - 06:00' is not how hours"),
        ("audio: {device: “USB”}", "audio.device: '“USB”' has quotes that belong to the value"),
        ("state_directory: $HOME/x", "state_directory: '$HOME/x' has a variable in it"),
        ("state_directory: /etc/passwd", "'/etc/passwd' is a file; give the name of a folder"),
        ("store: {key_file: .}", "store.key_file: '.' is the name of a folder"),
        ("store: {key_file: /dev}", "store.key_file: '/dev' is a folder; give the name of a file"),
        ("mqtt: {host: 'mqtt://door:sesame@x'}", "mqtt.host: 'mqtt://***@x' is a URL"),
        ("log_level: INFO", "log_level: 'INFO' is unknown; give info"),
        (
            "metrics: {enabled: yes, port: 1883}",
            "metrics.port: the broker on this machine has this port",
        ),
        ("mqtt: {protocol: 4}", "mqtt.protocol: '4' is unknown; give one of auto, 5, 3.1.1"),
        ("device: {id: a/b}", "device.id: 'a/b' cannot be used; give 1 to 64 letters"),
        ("device: {id: Tür}", "device.id: 'Tür' cannot be used"),
        ('device: {name: "a\\nb"}', "device.name: 'a\ufffdb' holds a control character"),
        ('device: {name: "a\\u0085b"}', "device.name: 'a\ufffdb' holds a control character"),
        ('device: {name: "a\\ud800b"}', "device.name: 'a\ufffdb' holds half a character"),
        ('audio: {device: "\\udfff"}', "audio.device: '\ufffd' holds half a character"),
        ('mqtt: {username: "\\ud83d\\ude00"}', "write the character itself; give 1 to 256"),
        ('state_directory: "/a\\udc80"', "state_directory: '/a\ufffd' holds half a character"),
        ("device: {name: ' '}", "device.name: is blank"),
        ("log_level: loud", "log_level: 'loud' is unknown; give one of debug, info"),
        ("enrollment: {repetitions: 2}", "2 is too small; give a whole number from 3 to 20"),
        ("audio: {ring_s: 20, ring_s: 30}", "audio.ring_s: given twice (first in line 1)"),
        ("audio: {}\naudio: {}", "audio: given twice (first in line 1)"),
        ("mqtt: {password_file: x}", "mqtt.password_file: a password without a user"),
        ("mqtt: {tls: {enabled: yes, key_file: k}}", "mqtt.tls.key_file: half of a pair"),
        ("mqtt: {tls: {ca_file: c}}", "mqtt.tls.ca_file: has no effect without TLS"),
        (
            "metrics: {address: 192.168.1.7}",
            "metrics.address: 192.168.1.7 can be reached from other machines",
        ),
        ("metrics: {address: '::'}", "metrics.address: :: can be reached from other machines"),
        ("metrics: {address: localhost}", "give 127.0.0.1 or ::1"),
        (
            "audio: {max_utterance_s: 4}\nrecognition: {min_net_speech_s: 4.5}",
            "recognition.min_net_speech_s: no utterance is that long",
        ),
    ],
)  # fmt: skip
def test_each_mistake_is_explained(text: str, expected: str) -> None:
    assert expected in problem(text)


def test_a_range_includes_both_of_its_ends() -> None:
    for row in all_settings():
        least, most = row.rule.least, row.rule.most
        if least is None or most is None:
            continue
        *sections, key = row.path.split(".")
        beyond = 1 if isinstance(least, int) else 1e-3 * abs(most)
        for value, told in (
            (least, []),
            (most, []),
            (least - beyond, ["too small"]),
            (most + beyond, ["too large"]),
        ):
            text = f"{key}: {value!r}"
            for section in reversed(sections):
                text = f"{section}: {{{text}}}"
            lines = complaints(text.encode())
            found = [what for what in ("too small", "too large") if what in "".join(lines)]
            assert found == told, (row.path, value)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("lockout: {first_s: 300, longest_s: 300}", False),
        ("lockout: {first_s: 300, longest_s: 299}", True),
        ("audio: {max_utterance_s: 4}\nrecognition: {min_net_speech_s: 3.9}", False),
        ("audio: {max_utterance_s: 4}\nrecognition: {min_net_speech_s: 4}", True),
        ("metrics: {address: 127.0.0.2}", False),
        ("metrics: {address: '::1'}", False),
        ("mqtt: {tls: {enabled: yes, cert_file: c, key_file: k}}", False),
        ("mqtt: {tls: {enabled: yes, cert_file: c}}", True),
        ("mqtt: {tls: {cert_file: c, key_file: k}}", True),
        ("mqtt: {username: x, password_file: p}", False),
        ("access: {time_zone: Europe/Berlin}", False),
        ("access: {time_zone: Europe}", True),
        ("#" * 65_536, False),
        ("#" * 65_537, True),
    ],
)
def test_what_goes_together(text: str, refused: bool) -> None:
    assert bool(complaints(text.encode())) is refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x 1\nb: *x", "config.yaml:1: anchors (&) and aliases (*) are not allowed"),
        ("a: !!python/object/apply:os.system [id]", "config.yaml:1: tags (!) are not allowed"),
        ("\n---\na: 1\n---\nb: 1", "config.yaml:4: a second document (---) begins"),
        ("audio:\n\tring_s: 20", "config.yaml:2: a tab; YAML is indented with spaces"),
        ("audio:\n  ring_s: 20\n ring: 1", "config.yaml:3: not YAML"),
        ("audio: {ring_s: 20", "not YAML"),
        ("device: 'open", "not YAML"),
        ("[" * 50_000, "nested too deeply"),
        ("a: " + "{b: " * 2000, "nested too deeply"),
        ("%YAML 9.9\n---\na: 1", "not YAML"),
    ],
)
def test_what_is_no_plain_document_is_refused(text: str, expected: str) -> None:
    assert expected in problem(text)


def test_all_mistakes_are_reported_in_order_with_their_lines() -> None:
    text = "log_level: loud\naudio:\n  ring_s: 5\n  rang_s: 1\n\nmqtt:\n  port: http\n  tls: yes\n"
    assert [found.split(": ")[:2] for found in problems(text)] == [
        ["config.yaml:1", "log_level"],
        ["config.yaml:3", "audio.ring_s"],
        ["config.yaml:4", "audio"],
        ["config.yaml:7", "mqtt.port"],
        ["config.yaml:8", "mqtt.tls"],
    ]
    with pytest.raises(ConfigError) as caught:
        parse_config(text.encode(), FILE)
    assert str(caught.value) == (
        f"{caught.value.problems[0]} (and 4 more: edge-voice config check config.yaml)"
    )


def test_thousands_of_mistakes_are_not_all_compared_with_every_setting() -> None:
    found = problems("".join(f"lockou{count}: 1\n" for count in range(2000)))
    assert len(found) == 2000
    assert all(each.endswith("; did you mean lockout?") for each in found[:50])
    assert found[50] == "config.yaml:51: unknown key 'lockou50'"


@pytest.mark.parametrize(
    ("text", "too_much", "expected"),
    [
        ("#" * 65_536, "#" * 65_537, "longer than 64 KiB; not a configuration"),
        (
            "audio: {max_utterance_s: 4}\nrecognition: {min_net_speech_s: 3.9}",
            "audio: {max_utterance_s: 4}\nrecognition: {min_net_speech_s: 4}",
            "give less than audio.max_utterance_s (4)",
        ),
        (
            "lockout: {first_s: 60, longest_s: 60}",
            "lockout: {first_s: 60, longest_s: 59.9}",
            "lockout.longest_s: shorter than the first; give at least lockout.first_s (60)",
        ),
    ],
)
def test_where_the_limits_are(text: str, too_much: str, expected: str) -> None:
    assert complaints(text.encode()) == ()
    assert expected in problem(too_much)


def test_how_deep_a_document_may_be() -> None:
    assert "must be a group of keys" in problem("[" * 7 + "1" + "]" * 7)
    assert "nested too deeply" in problem("[" * 8 + "1" + "]" * 8)


def test_a_long_value_is_shown_shortened() -> None:
    assert "xxx...'" in problem(f"log_level: {'x' * 5000}")
    assert f": unknown key '{'x' * 37}...'; " in problem(f"{'x' * 500}: 1")
    assert problem('"a\\ud800b": 1').startswith("config.yaml:1: unknown key 'a\ufffdb'; ")


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_give_settings_or_a_line_that_says_why(data: bytes) -> None:
    assert all(found.startswith("config.yaml:") for found in complaints(data))


@settings(max_examples=100)
@given(
    st.sampled_from([setting.path for setting in all_settings()]),
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(["0", "-1", "1e3", "on", "0o7", "1:2", ".inf", "[1]", "{a: 1}", "|\n a"]),
        st.floats().map(str),
        st.integers().map(str),
    ),
)  # fmt: skip
def test_any_value_of_any_setting_is_taken_or_explained(path: str, text: str) -> None:
    keys = path.split(".")
    lines = [f"{'  ' * depth}{key}:" for depth, key in enumerate(keys)]
    data = ("\n".join(lines) + f" {text}\n").encode(errors="replace")
    assert all(found.startswith("config.yaml:") for found in complaints(data))
