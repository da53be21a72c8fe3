"""What a request can be refused for, in terms that every version of the API has a spelling of."""

from __future__ import annotations

from edge.errors import EnrollmentRejected
from edge.types import ReasonCode
from edge.web.refusal import Refused

_OF_REASON = {
    ReasonCode.TOO_SHORT: "Audio too short",
    ReasonCode.CUT_OFF: "Audio too short",
    ReasonCode.TOO_LONG: "Audio too long",
    ReasonCode.TOO_NOISY: "Audio too noisy",
    ReasonCode.CLIPPED: "Audio too noisy",
    ReasonCode.TOO_QUIET: "SpeechNotRecognized",
    ReasonCode.WRONG_PHRASE: "InvalidPhrase",
    ReasonCode.OTHER_LENGTH: "InvalidPhrase",
    ReasonCode.REPEATED: "InvalidPhrase",
    ReasonCode.UNKNOWN_SPEAKER: "SpeakerInvalid",
}
"""The cloud's message for each reason; it had fewer."""


class Fault(Exception):
    """A request that is not carried out.

    Args:
        status: the HTTP status.
        reason: one word for programs: a `ReasonCode` value, or what is wrong with the request.
        message: the cloud's message, word for word.
        detail: one line: what is wrong, and what to do.
        argument: whether it is a parameter that is wrong.
        retry_after_s: when to try again, seconds.
        allow: the methods that the path has, where it was another.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        detail: str = "",
        *,
        argument: bool = False,
        retry_after_s: float | None = None,
        allow: str = "",
    ) -> None:
        super().__init__(detail or message)
        self.status = status
        self.reason = reason
        self.message = message
        self.detail = detail
        self.argument = argument
        self.retry_after_s = retry_after_s
        self.allow = allow


def of_refusal(refused: Refused) -> Fault:
    """What the server's other parts refuse, as a fault."""
    words = "".join(f"_{each.lower()}" if each.isupper() else each for each in refused.code)
    return Fault(
        refused.status, words.lstrip("_"), refused.message, retry_after_s=refused.retry_after_s
    )


def of_quality(reason: ReasonCode, detail: str) -> Fault:
    """A recording that is not good enough, or not what was enrolled."""
    return Fault(400, reason.value, _OF_REASON[reason], detail)


def of_rejection(rejected: EnrollmentRejected) -> Fault:
    """An enrollment that was refused."""
    return of_quality(ReasonCode(rejected.reason), str(rejected))


def no_such_profile(profile_id: str) -> Fault:
    """There is no such profile, or none of this kind."""
    return Fault(
        404, "no_such_profile", "SpeakerInvalid", f"there is no profile {profile_id} of this kind"
    )
