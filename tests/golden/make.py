"""Makes the golden files: `python -m tests.golden.make FOLDER`.

They were made before names and modules changed, and are not to be made again for that: what has
been renamed since is listed in tests/golden/renamed.py. Times, ids and content are fixed; salts,
nonces and keys are random, so binary files are compared by what is read from them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import hashlib
import itertools
import json
import math
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from edge.access.issuing import Issuer
from edge.challenge import rounds
from edge.challenge.matching import DigitExample
from edge.challenge.rounds import DigitRound
from edge.config import AuditConfig
from edge.crypto.canonical import canonical, wire
from edge.crypto.signing import HmacKey, PrivateKey, SigningKey
from edge.mqtt.commands import command_message
from edge.replay.fingerprint import Fingerprint
from edge.store import ProfileStore, open_store
from edge.store.audit import AUDIT_KEY, AuditTrail
from edge.store.device_state import DeviceState
from edge.store.transfer import read_person, write_person
from edge.types import (
    AccessDecision,
    AccessRule,
    Confidence,
    Detail,
    EnrollmentSample,
    Event,
    EventKind,
    Outcome,
    ProfileKind,
    Quality,
    ReasonCode,
    Window,
)

START = 1_700_000_000.25
PASSPHRASE = "correct horse battery"  # noqa: S105 (of a made-up file)
_LATER = (EventKind.CLOCK, EventKind.ROLLBACK, EventKind.VERIFICATION)
STORE_KEY = bytes(range(32)).hex()
"""What `store.key` holds; it is written beside the store where that is opened."""
SIGNING_KEYS: tuple[SigningKey, ...] = (
    PrivateKey(bytes(range(32)), "golden-key"),
    HmacKey(bytes(range(32)), "golden-key"),
)
MODELS = ("5" * 64, "9" * 64)
EXPORT = "ada.profile"


@contextlib.contextmanager
def fixed() -> Iterator[None]:
    """The clock stands at `START`, and ids are counted."""
    ids = (uuid.UUID(int=number | 0x4 << 76 | 0x8 << 60) for number in itertools.count(1))
    with mock.patch("time.time", return_value=START), mock.patch("uuid.uuid4", side_effect=ids):
        yield


def readable(value: Any) -> Any:
    """A value as JSON: dataclasses by their fields, arrays and bytes by shape and digest."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: readable(getattr(value, field.name)) for field in fields}
    if isinstance(value, dict):
        return {name: readable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [readable(inner) for inner in value]
    return _readable_leaf(value)


def _readable_leaf(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        little = value.astype(value.dtype.newbyteorder("<")).tobytes()
        return {"shape": list(value.shape), "type": str(value.dtype), **_readable_leaf(little)}
    if isinstance(value, bytes):
        return {"bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, date):
        return value.isoformat()
    return value.value if isinstance(value, enum.Enum) else value


def sample(seed: int, *, phrase: bool = True, adapted: bool = False) -> EnrollmentSample:
    """A sample of random numbers, the same for the same seed."""
    random = np.random.default_rng(seed)
    speaker = random.uniform(-1.0, 1.0, 192)
    # Summed so that the last bit is the same on every machine.
    length = math.sqrt(math.fsum(float(value) ** 2 for value in speaker))
    rows = [random.uniform(-1.0, 1.0, (4 + n, 96)).astype(np.float32) for n in range(3)]
    return EnrollmentSample(
        speaker_embedding=(speaker / length).astype(np.float32),
        phrase_embedding=rows[0] if phrase else None,
        net_speech_s=15.5,
        snr_db=21.5,
        created_at=START + seed,
        adapted=adapted,
        phrase_variants=tuple(rows[1:]) if phrase and not adapted else (),
    )


def digits(seed: int) -> bytes:
    """A round of digits of random numbers, as it is kept."""
    random = np.random.default_rng(seed)
    examples = tuple(
        DigitExample(digit, random.uniform(-10.0, 2.0, (5 + digit, 32)).astype(np.float32))
        for digit in range(10)
    )
    return rounds.encode(DigitRound(examples, sample(seed, phrase=False), MODELS[0]))


def fingerprint(seed: int) -> bytes:
    """A fingerprint of random bits, as it is kept; its frames in the middle are a pause."""
    random = np.random.default_rng(seed)
    speech = np.ones(120, np.bool_)
    speech[50:60] = False
    peaks = random.integers(0, 256, (120, 64), np.uint8)
    peaks[~speech] = 0
    return Fingerprint(peaks, speech).to_bytes()


def opened(folder: Path) -> ProfileStore:
    """The store in a folder, which the known key belongs to."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "store.key"
    key.touch(mode=0o600)
    key.write_text(STORE_KEY)
    return open_store(folder)


def fill(store: ProfileStore) -> None:
    """Two people, with all that can be kept of them."""
    speaker, phrase = MODELS
    rule = AccessRule(
        doors=("front-door", "shed"),
        windows=(Window((0, 4), 480, 1020), Window((5, 6), 1320, 120)),
        first_day=date(2024, 2, 29),
        last_day=date(2030, 12, 31),
        challenge=True,
    )
    ada = store.create(
        "Ada",
        ProfileKind.PHRASE,
        "open the door",
        required=3,
        samples=[sample(seed) for seed in (1, 2, 3)],
        speaker_model=speaker,
        phrase_model=phrase,
    )
    ada = store.set_rule(ada.id, rule)
    for seed in (4, 5):
        ada = store.adapt(ada, sample(seed, adapted=True), most=5)
    store.keep("digit", digits(6), profile=ada.id)
    store.keep("heard", fingerprint(12), profile=ada.id)
    store.keep("heard-refused", fingerprint(13))
    store.create(
        "Ada under duress",
        ProfileKind.PHRASE,
        required=3,
        samples=[sample(seed) for seed in (7, 8, 9)],
        speaker_model=speaker,
        phrase_model=phrase,
        duress_of=ada.id,
    )
    store.create(
        "Zoë",
        ProfileKind.VOICE,
        required=30,
        samples=[sample(seed, phrase=False) for seed in (10, 11)],
        speaker_model=speaker,
    )
    store.set_rule("Zoë", AccessRule(enabled=False))


def store_content(store: ProfileStore) -> dict[str, Any]:
    """All that a store gives out."""
    kept = {kind: store.kept(kind) for kind in ("digit", "heard", "heard-refused")}
    return {
        "profiles": [readable(profile) for profile in store.list()],
        "items": readable(kept),
        "digits": [readable(rounds.decode(item.payload)) for item in kept["digit"]],
        "fingerprints": [readable(Fingerprint.from_bytes(item.payload)) for item in kept["heard"]],
    }


def tables(file: Path) -> dict[str, Any]:
    """The tables of a database, their columns, and the numbers in its header."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        return {
            **{
                name: [
                    [column, kind]
                    for column, kind in database.execute(
                        "SELECT name, type FROM pragma_table_info(?)", (name,)
                    )
                ]
                for (name,) in names.fetchall()
            },
            **{
                pragma: database.execute(f"PRAGMA {pragma}").fetchone()[0]
                for pragma in ("application_id", "user_version")
            },
        }


def trail_of(folder: Path, store: ProfileStore, state: DeviceState) -> AuditTrail:
    """The audit trail in a folder."""
    return AuditTrail(folder, store.derive_key(AUDIT_KEY), state, AuditConfig())


def record(trail: AuditTrail) -> None:
    """An event of each kind that there was when the files were made."""
    for number, kind in enumerate(each for each in EventKind if each not in _LATER):
        detail: dict[str, Detail] = {
            "number": number,
            "what": "Zoë's",
            "share": 0.25,
            "done": True,
            "why": None,
        }
        trail.record(Event(kind, detail, str(uuid.UUID(int=number)), START + number))
        trail.flush()


def trail_content(trail: AuditTrail) -> dict[str, Any]:
    """All that a trail gives out; of findings how many: the event of tampering is one of them."""
    verdict = trail.verify()
    return {
        "entries": [entry.as_dict() for entry in trail.entries()],
        "verified": {**readable(verdict), "findings": len(verdict.findings)},
    }


def decisions() -> list[AccessDecision]:
    """One that opens, with all there can be in it, and one that does not, with the least."""
    return [
        AccessDecision(
            id=str(uuid.UUID(int=1)),
            time=START,
            device="hall",
            outcome=Outcome.GRANTED,
            reason=ReasonCode.RECOGNIZED,
            confidence=Confidence.HIGH,
            profile_id=str(uuid.UUID(int=2)),
            name='Zoë "Z"',
            phrase="open the door",
            scores={"voice": 3.0, "phrase": -0.25, "margin": 1 / 3},
            utterance_s=1.844,
            quality=Quality(-23.456, -61.01, 37.55, 0.00012, 1.8449),
            timings_ms={"decide": 12.04},
        ),
        AccessDecision(
            id=str(uuid.UUID(int=3)),
            time=START,
            device="hall",
            outcome=Outcome.DENIED,
            reason=ReasonCode.UNKNOWN_SPEAKER,
            confidence=Confidence.LOW,
            lifetime_s=0.5,
        ),
    ]


def messages(folder: Path) -> Iterator[dict[str, Any]]:
    """Signed messages as they are sent, byte for byte, with each kind of key."""
    odd = {"text": 'é"\\/\n\x1f\x7f🦊', "numbers": [5.0, -0.0, 1e15, 0.0001, 1 / 3, 2**53 - 1]}
    for key in SIGNING_KEYS:
        with contextlib.closing(DeviceState(folder / key.algorithm)) as state:
            issuer = Issuer("hall", state, key)
            for decision in decisions():
                yield {"domain": "decision", "text": issuer.issue(decision).to_json()}
            for domain in ("duress", "challenge", "result", "enrollment"):
                for lifetime_s in (None, 10.0):
                    text = issuer.sign_message(domain, {"id": domain, **odd}, lifetime_s)
                    yield {"domain": domain, "text": text}
        for name, arguments in (("ping", {}), ("disable", {"person": "Zoë"})):
            message = command_message(name, arguments, "hall", key)
            yield {"domain": "command", "text": wire(message)}
    yield {"domain": "", "text": canonical({"b": None, "a": [True, {}], "B": odd}).decode()}


def counters(folder: Path) -> dict[str, int | None]:
    """What a device remembers of itself: how far each counter is, and which texts there are."""
    with contextlib.closing(sqlite3.connect(folder / "device.sqlite")) as database:
        rows = database.execute("SELECT name, value FROM entry ORDER BY name").fetchall()
    return {name: value if isinstance(value, int) else None for name, value in rows}


def make_state(folder: Path) -> dict[str, Any]:
    """Make a store, a trail and an export in a folder; what is read from each."""
    with fixed(), opened(folder) as store, contextlib.closing(DeviceState(folder)) as state:
        fill(store)
        with trail_of(folder, store, state) as trail:
            record(trail)
            Issuer("hall", state)
            write_person(folder / EXPORT, store.export("Ada"), PASSPHRASE)
    return {**content(folder), "state": counters(folder)}


def content(folder: Path) -> dict[str, Any]:
    """What is read from the store, the trail and the export in a folder."""
    with (
        opened(folder) as store,
        contextlib.closing(DeviceState(folder)) as state,
        trail_of(folder, store, state) as trail,
    ):
        return {
            "store": {**store_content(store), "tables": tables(folder / "signatures.sqlite")},
            "trail": {**trail_content(trail), "tables": tables(folder / "audit.sqlite")},
            "export": readable(read_person(folder / EXPORT, PASSPHRASE)),
        }


def make_messages(folder: Path) -> list[dict[str, Any]]:
    """The signed messages; a folder is needed to count in."""
    with fixed():
        return list(messages(folder))


def write_lines(file: Path, values: Iterable[Any]) -> None:
    """A JSON value a line."""
    file.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))


def main(folder: Path) -> None:
    """Make all golden files in a new folder."""
    from tests.golden.run import scripted_run

    made = make_state(folder / "state")
    (folder / "state" / "store.key").unlink()
    for name, value in made.items():
        text = json.dumps(value, indent=1, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text + "\n")
    with tempfile.TemporaryDirectory() as scratch:
        write_lines(folder / "messages.jsonl", make_messages(Path(scratch, "signing")))
        write_lines(folder / "run.jsonl", scripted_run(Path(scratch, "run")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
