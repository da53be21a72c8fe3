"""Why a request is not carried out, whatever interface it came to."""

from __future__ import annotations


class Refused(Exception):
    """A request is refused; the interface it came to says so in its own form.

    Args:
        status: the HTTP status.
        code: one word for programs.
        message: one line for people.
        retry_after_s: when to try again, seconds; None where that would not help.
    """

    def __init__(
        self, status: int, code: str, message: str, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
