"""Messages of somebody on the broker who wants in: forged, altered, late, repeated, misdirected.

The attacker has heard genuine messages, knows the key's id and public half and everything about the
format, and owns another device of the same make; only the key is not theirs.
"""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edge.crypto.canonical import wire
from edge.crypto.signing import DOMAINS, HmacKey, PrivateKey, signed
from edge.types.decision import utc

Key = HmacKey | PrivateKey
Message = dict[str, Any]


@dataclass(frozen=True)
class Attack:
    """One message.

    Attributes:
        kind: what is tried.
        payload: the bytes.
        retain: whether it is published as a message to keep.
    """

    kind: str
    payload: bytes
    retain: bool = False


class Attacker:
    """Makes attacks without end.

    Args:
        domain: the kind of message that is attacked, `decision` or `command`.
        key: the device's key, used only for messages that the device itself could have sent: late
            ones, such of another kind, such of another device that was given the same key.
        genuine: makes the content of a genuine message: counter, issued at, device.
        heard: payloads that were genuine, and have been received already.
        first: the lowest counter that would be accepted now.
        now: Unix time, seconds.
        seed: for the same attacks again.
    """

    def __init__(
        self,
        domain: str,
        key: Key,
        genuine: Callable[[int, float, str], Message],
        heard: list[str],
        *,
        first: int,
        now: float,
        device: str,
        seed: int = 1,
    ) -> None:
        self._domain = domain
        self._key = key
        self._genuine = genuine
        self._heard = heard
        self._first = first
        self._now = now
        self._device = device
        self._random = random.Random(seed)  # noqa: S311
        self._stranger: Key = (
            HmacKey(self._random.randbytes(32), key.key_id)
            if isinstance(key, HmacKey)
            else PrivateKey(self._random.randbytes(32), key.key_id)
        )
        self._kinds: tuple[Callable[[], Attack], ...] = (
            self._forged, self._unsigned, self._altered, self._flipped, self._late, self._future,
            self._repeated, self._other_device, self._other_domain, self._relabeled,
            self._algorithm, self._duplicate, self._garbage, self._large, self._nested,
            self._retained, self._cut, self._long_lived, self._shape,
        )  # fmt: skip

    def attacks(self, count: int) -> Iterator[Attack]:
        """So many of them, of each kind about as many."""
        for number in range(count):
            yield self._kinds[number % len(self._kinds)]()

    def _fresh(self, device: str = "", issued: float = 0.0) -> Message:
        counter = self._first + self._random.randrange(1, 10_000)
        return self._genuine(counter, issued or self._now, device or self._device)

    def _text(self, message: Message) -> bytes:
        return wire(message).encode()

    def _forged(self) -> Attack:
        message = signed(self._fresh(), self._domain, self._stranger)
        return Attack("forged", self._text(message))

    def _unsigned(self) -> Attack:
        return Attack("unsigned", self._text(self._fresh()))

    def _altered(self) -> Attack:
        # A message on its way is held back and changed: its number has not been seen.
        message = signed(self._fresh(), self._domain, self._key)
        name = self._random.choice([each for each in message if each != "signature"])
        value = message[name]
        message[name] = {
            str: lambda: value[:-1] + ("a" if value[-1:] != "a" else "b"),
            int: lambda: value + 1,
        }.get(type(value), lambda: "other")()
        return Attack("altered", self._text(message))

    def _flipped(self) -> Attack:
        payload = bytearray(self._text(signed(self._fresh(), self._domain, self._stranger)))
        at = self._random.randrange(len(payload))
        payload[at] ^= 1 << self._random.randrange(8)
        return Attack("flipped", bytes(payload))

    def _late(self) -> Attack:
        # Held back, unseen, and delivered when the owner is away.
        before = self._now - self._random.uniform(100.0, 1e6)
        return Attack(
            "late", self._text(signed(self._fresh(issued=before), self._domain, self._key))
        )

    def _future(self) -> Attack:
        # Made while the device's clock was wrong, and kept.
        later = self._now + self._random.uniform(1000.0, 1e6)
        return Attack(
            "future", self._text(signed(self._fresh(issued=later), self._domain, self._key))
        )

    def _repeated(self) -> Attack:
        return Attack("repeated", self._random.choice(self._heard).encode())

    def _other_device(self) -> Attack:
        message = signed(self._fresh(device="back-door"), self._domain, self._key)
        return Attack("other_device", self._text(message))

    def _other_domain(self) -> Attack:
        other = self._random.choice([each for each in DOMAINS if each != self._domain])
        return Attack("other_domain", self._text(signed(self._fresh(), other, self._key)))

    def _relabeled(self) -> Attack:
        message = copy.deepcopy(json.loads(self._random.choice(self._heard)))
        message["counter"] = self._first + self._random.randrange(1, 10_000)
        return Attack("relabeled", self._text(message))

    def _algorithm(self) -> Attack:
        # A shared key that is the public key, the classic; or no algorithm at all.
        if isinstance(self._key, PrivateKey):
            fake = HmacKey(self._key.public.raw, self._key.key_id)
            return Attack("algorithm", self._text(signed(self._fresh(), self._domain, fake)))
        message = signed(self._fresh(), self._domain, self._stranger)
        message["signature"]["algorithm"] = self._random.choice(["none", "ed25519", "", "HMAC"])
        return Attack("algorithm", self._text(message))

    def _duplicate(self) -> Attack:
        # The genuine one in front, the wish behind it.
        heard = self._random.choice(self._heard)
        wish = json.dumps({"counter": self._first + 5, "expires_at": utc(self._now + 5)})
        return Attack("duplicate", (heard[:-1] + "," + wish[1:]).encode())

    def _garbage(self) -> Attack:
        return Attack("garbage", self._random.randbytes(self._random.randrange(200)))

    def _large(self) -> Attack:
        message = {**self._fresh(), "x": "x" * 12_000}
        return Attack("large", self._text(signed(message, self._domain, self._stranger)))

    def _nested(self) -> Attack:
        depth = self._random.randrange(20, 2000)
        return Attack("nested", b'{"a":' + b"[" * depth + b"]" * depth + b"}")

    def _retained(self) -> Attack:
        message = signed(self._fresh(), self._domain, self._stranger)
        return Attack("retained", self._text(message), retain=True)

    def _cut(self) -> Attack:
        payload = self._text(signed(self._fresh(), self._domain, self._key))
        return Attack("cut", payload[: self._random.randrange(len(payload))])

    def _long_lived(self) -> Attack:
        message = {**self._fresh(), "expires_at": utc(self._now + 1e7)}
        return Attack("long_lived", self._text(signed(message, self._domain, self._stranger)))

    def _shape(self) -> Attack:
        message = signed(self._fresh(), self._domain, self._stranger)
        name = self._random.choice(list(message))
        message[name] = self._random.choice([None, True, -1, 0.5, "", [], {}, [message[name]]])
        if self._random.random() < 0.3:
            message["signature"] = {"value": base64.b64encode(b"x" * 64).decode()}
        return Attack("shape", self._text(message))
