"""Errors that a user can meet, with exit codes; each is a line on what is wrong and what to do."""

from __future__ import annotations

EXIT_OK = 0
EXIT_REJECTED = 1
EXIT_INPUT = 2
EXIT_ENVIRONMENT = 3


class EdgeVoiceError(Exception):
    """Base of every error that a user can meet; its text is one line for that user."""

    exit_code = EXIT_ENVIRONMENT


class InputError(EdgeVoiceError):
    """The given file, setting or argument cannot be used as it is."""

    exit_code = EXIT_INPUT


class EnvironmentFault(EdgeVoiceError):
    """A device, a model, a broker, a disk or the like is missing or does not work."""

    exit_code = EXIT_ENVIRONMENT


class AudioFormatError(InputError):
    """A recording cannot be decoded, or is of a kind that cannot be used."""


class MicrophoneError(EnvironmentFault):
    """The microphone cannot be opened, or has stopped delivering."""


class ConfigError(InputError):
    """The configuration has mistakes; `problems` has one line for each, the text is the first."""

    def __init__(self, *problems: str, file: object = None) -> None:
        more = ""
        if len(problems) > 1:
            shown = "" if file is None else f": edge-voice config check {file}"
            more = f" (and {len(problems) - 1} more{shown})"
        super().__init__((problems[0] if problems else "the configuration has a mistake") + more)
        self.problems = problems


class ModelError(EnvironmentFault):
    """A model file is missing, damaged, or not the one its card describes."""


class StoreError(EnvironmentFault):
    """The signature store cannot be read or written."""


class KeyFault(StoreError):
    """The key of the signature store is missing, is another one, or is open to others."""


class WrongPassphrase(KeyFault):
    """The passphrase that was given for the signature store is another one."""

    exit_code = EXIT_INPUT


class ProfileError(InputError):
    """A profile does not exist, exists already, or is not ready for what was asked of it."""


class EnrollmentRejected(InputError):
    """An enrollment utterance was refused; nothing was stored. `reason` is a `ReasonCode` value."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
