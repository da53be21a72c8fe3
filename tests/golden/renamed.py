"""What has been renamed or added since the golden files were made: the whole list.

The golden files show what was stored and sent before. The tests translate them with these tables
and want exactly that of the present code, so a name that changes has to be listed here, and a
value, field or message that changes in any other way fails. An entry that fits nothing in the
golden files fails too. The files themselves stay as they are; leave them out when renaming.

- `NAMES`: members of JSON objects, fields and columns. None for one that is gone.
- `VALUES`: whole texts, such as reason codes, states, kinds of events, and messages for people;
  `MEMBER=TEXT` for the text of that member alone.
- `TIMES`: members that were numbers of microseconds and are ISO 8601 now.
- `TOPICS`: what follows BASE/DEVICE/ in MQTT topics, also where a message names the topic.
- `ADDED`: fields that an object has now, or each object of a list, by its name, with what the
  golden files imply.
"""

from __future__ import annotations

from typing import Any

from edge.types.decision import utc_us

NAMES: dict[str, str | None] = {
    "counter/enrolment": "counter/enrollment",
    "counter/lockout": None,
    "enrolment": "enrollment",
    "seconds": "lasts_s",
    "time_us": "time",
}
TIMES = ("time_us",)
VALUES: dict[str, str] = {
    "reason=accepted": "recognized",
    "nobody has that name or id: see list": "nobody has that name or id; see the command list",
    "cancelled": "canceled",
    "enrol_cancel": "enroll_cancel",
    "enrol_start": "enroll_start",
    "enrolment": "enrollment",
    # What a display says during an enrollment, and the answer to a command.
    "this name is enrolled already: reset or delete first": (
        "already enrolled: reset or delete first"
    ),
    "say your passphrase 3 times, with a pause after each": (
        "say your passphrase 3 times and pause after each"
    ),
    "1 of 3: and again": "1 of 3: again",
    "2 of 3: once more": "2 of 3: once more, in haste: so you get in on busy days too",
    "another voice: once more, by the same person as the first time": (
        "different voice: once more, by the same person as the first time"
    ),
    "another phrase: once more, the same words as the first time": (
        "different phrase: once more, with the same words as the first time"
    ),
    # Entities of Home Assistant.
    "Cancel enrolment": "Cancel enrollment",
    "Enrolment": "Enrollment",
    "Start enrolment": "Start enrollment",
    "Whom to enrol": "Person to enroll",
    "Lift lock-out": "End lock-out",
    "edge_voice_test-door_enrol": "edge_voice_test-door_enroll",
    "edge_voice_test-door_enrol_cancel": "edge_voice_test-door_enroll_cancel",
    "edge_voice_test-door_enrol_person": "edge_voice_test-door_enroll_person",
    "edge_voice_test-door_enrolment": "edge_voice_test-door_enrollment",
    "edge_voice_test_door_enrol": "edge_voice_test_door_enroll",
    "edge_voice_test_door_enrol_cancel": "edge_voice_test_door_enroll_cancel",
    "edge_voice_test_door_enrol_person": "edge_voice_test_door_enroll_person",
    "edge_voice_test_door_enrolment": "edge_voice_test_door_enrollment",
    "button.edge_voice_test_door_enrol": "button.edge_voice_test_door_enroll",
    "button.edge_voice_test_door_enrol_cancel": "button.edge_voice_test_door_enroll_cancel",
    "sensor.edge_voice_test_door_enrolment": "sensor.edge_voice_test_door_enrollment",
    "text.edge_voice_test_door_enrol_person": "text.edge_voice_test_door_enroll_person",
    "homeassistant/button/edge_voice_test-door/enrol/config": (
        "homeassistant/button/edge_voice_test-door/enroll/config"
    ),
    "homeassistant/button/edge_voice_test-door/enrol_cancel/config": (
        "homeassistant/button/edge_voice_test-door/enroll_cancel/config"
    ),
    "homeassistant/sensor/edge_voice_test-door/enrolment/config": (
        "homeassistant/sensor/edge_voice_test-door/enrollment/config"
    ),
    "homeassistant/text/edge_voice_test-door/enrol_person/config": (
        "homeassistant/text/edge_voice_test-door/enroll_person/config"
    ),
    # Their templates, which name fields of the status.
    "{% if value_json is mapping and value_json.state | default('online') == 'online' %}"
    "{{ value_json.enrolment | to_json if value_json.enrolment is mapping else '{}' }}"
    "{% else %}{}{% endif %}": (
        "{% if value_json is mapping and value_json.state | default('online') == 'online' %}"
        "{{ dict(value_json.enrollment if value_json.enrollment is mapping else {},"
        " unconfirmed=value_json.unconfirmed | default([])) | to_json }}"
        "{% else %}{}{% endif %}"
    ),
    "{% if value_json is mapping and value_json.state | default('online') == 'online' %}"
    "{{ (value_json.enrolment.state | default('idle') | string)[:32]"
    " if value_json.enrolment is mapping else 'idle' }}{% else %}unknown{% endif %}": (
        "{% if value_json is mapping and value_json.state | default('online') == 'online' %}"
        "{{ (value_json.enrollment.state | default('idle') | string)[:32]"
        " if value_json.enrollment is mapping"
        " else 'unconfirmed' if value_json.unconfirmed is defined else 'idle' }}"
        "{% else %}unknown{% endif %}"
    ),
    "{% if value_json is mapping and value_json.state | default('online') == 'online' %}"
    "{{ value_json.enrol_person[:64] if value_json.enrol_person is string else '' }}"
    "{% else %}{% endif %}": (
        "{% if value_json is mapping and value_json.state | default('online') == 'online' %}"
        "{{ value_json.enroll_person[:64] if value_json.enroll_person is string else '' }}"
        "{% else %}{% endif %}"
    ),
    # A decision was granted for the reason "accepted".
    "{%- if value_json is not mapping -%}\n"
    "{%- elif value_json.decision == 'granted' and value_json.reason == 'accepted' -%}\n"
    "{{ dict(value_json, event_type='granted') | to_json }}\n"
    "{%- elif value_json.decision == 'denied' -%}\n"
    "{%- set reason = value_json.reason -%}\n"
    "{%- set asked = 'challenge' if reason == 'challenge_asked' else 'denied' -%}\n"
    "{{ dict(value_json, event_type='lockout' if reason == 'locked_out' else asked) |"
    " to_json }}\n"
    "{%- endif -%}": (
        "{%- if value_json is not mapping -%}\n"
        "{%- elif value_json.decision == 'granted' and value_json.reason == 'recognized' -%}\n"
        "{{ dict(value_json, event_type='granted') | to_json }}\n"
        "{%- elif value_json.decision == 'denied' -%}\n"
        "{%- set reason = value_json.reason -%}\n"
        "{%- set asked = 'challenge' if reason == 'challenge_asked' else 'denied' -%}\n"
        "{{ dict(value_json, event_type='lockout' if reason == 'locked_out' else asked) |"
        " to_json }}\n"
        "{%- endif -%}"
    ),
    "{{ (value_json.confidence | default('unknown') | string)[:128] if value_json is"
    " mapping and value_json.decision == 'granted' and value_json.reason == 'accepted'"
    " else this.state }}": (
        "{{ (value_json.confidence | default('unknown') | string)[:128] if value_json is"
        " mapping and value_json.decision == 'granted' and value_json.reason == 'recognized'"
        " else this.state }}"
    ),
    "{{ (value_json.name | default('unknown') | string)[:128] if value_json is mapping"
    " and value_json.decision == 'granted' and value_json.reason == 'accepted' else"
    " this.state }}": (
        "{{ (value_json.name | default('unknown') | string)[:128] if value_json is mapping"
        " and value_json.decision == 'granted' and value_json.reason == 'recognized' else"
        " this.state }}"
    ),
    # The clock and the state's files may have a problem too.
    "{% if value_json is mapping and value_json.state | default('online') == 'online' %}"
    "{{ 'ON' if value_json.problem is defined or value_json.audit_problem is defined"
    " or value_json.challenge_problem is defined or value_json.microphone == 'lost'"
    " else 'OFF' }}{% else %}None{% endif %}": (
        "{% if value_json is mapping and value_json.state | default('online') == 'online' %}"
        "{{ 'ON' if value_json.problem is defined or value_json.audit_problem is defined"
        " or value_json.challenge_problem is defined or value_json.clock_problem is defined"
        " or value_json.state_problem is defined or value_json.microphone == 'lost'"
        " else 'OFF' }}{% else %}None{% endif %}"
    ),
    "{% if value_json is mapping and value_json.state | default('online') == 'online' %}"
    "{{ {'problem': value_json.problem | default(none),"
    " 'audit_problem': value_json.audit_problem | default(none),"
    " 'challenge_problem': value_json.challenge_problem | default(none),"
    " 'microphone': value_json.microphone | default(none),"
    " 'reason': value_json.reason | default(none)} | to_json }}{% else %}{}{% endif %}": (
        "{% if value_json is mapping and value_json.state | default('online') == 'online' %}"
        "{{ {'problem': value_json.problem | default(none),"
        " 'audit_problem': value_json.audit_problem | default(none),"
        " 'challenge_problem': value_json.challenge_problem | default(none),"
        " 'clock_problem': value_json.clock_problem | default(none),"
        " 'state_problem': value_json.state_problem | default(none),"
        " 'microphone': value_json.microphone | default(none),"
        " 'reason': value_json.reason | default(none)} | to_json }}{% else %}{}{% endif %}"
    ),
}
TOPICS: dict[str, str] = {
    "enrolment": "enrollment",
    "set/enrol": "set/enroll",
    "set/enrol_cancel": "set/enroll_cancel",
    "set/enrol_person": "set/enroll_person",
}

ADDED: dict[str, dict[str, Any]] = {
    "quality": {"reverberation_s": 0},  # the demo's voices are in no room
    # Nobody had to confirm what was enrolled.
    # With which microphone was not noted.
    "profiles": {"confirmed": True, "microphones": []},
    "profile": {"confirmed": True, "microphones": []},
    # Nobody's voice in parts, nor in an echoing room, was enrolled.
    "samples": {"stretches": [], "voice_variants": []},
    "voice": {"stretches": [], "voice_variants": []},
    "digits": {"single": None},
}

BASE = "edge-voice/test-door/"
"""The first levels of the topics of the scripted run."""


class Translation:
    """Translates what is in the golden files.

    Args:
        values: whether values and topics are new too; not of what lies in a file that was kept.

    Attributes:
        used: the entries that fitted something.
    """

    def __init__(self, *, values: bool = True) -> None:
        self._values = values
        self.used: set[str] = set()

    def of(self, value: Any, member: str = "") -> Any:
        """A value as the present code has it; `member` is what it is of."""
        if isinstance(value, dict):
            names = {name: self._looked_up(NAMES, name) for name in value}
            return {
                names[name]: self._with_added(names[name], self.of(inner, name))
                for name, inner in value.items()
                if names[name]
            }
        if isinstance(value, list):
            return [self.of(inner) for inner in value]
        if member in TIMES and isinstance(value, int):
            return utc_us(value)
        if not isinstance(value, str) or not self._values:
            return value
        if value.startswith(BASE):
            return BASE + str(self._looked_up(TOPICS, value[len(BASE) :]))
        name = f"{member}={value}"
        return self._looked_up(VALUES, name if name in VALUES else value)

    def _with_added(self, name: str, value: Any) -> Any:
        if name in ADDED and isinstance(value, list):
            return [self._with_added(name, inner) for inner in value]
        if name not in ADDED or not isinstance(value, dict):
            return value
        self.used.add(name)
        return {**value, **ADDED[name]}

    def _looked_up(self, table: Any, key: str) -> Any:
        if key in table:
            self.used.add(key)
        return table.get(key, key)
