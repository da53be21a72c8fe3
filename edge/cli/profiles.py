"""`edge-voice profiles`: the people enrolled on this device."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.output import (
    NOBODY_ENROLLED,
    local_time,
    new_table,
    show,
    show_json,
    show_result,
    show_table,
)
from edge.cli.prompts import add_passphrase_file, confirmed, given_passphrase
from edge.errors import EXIT_OK, EXIT_REJECTED, ProfileError

if TYPE_CHECKING:
    from edge.config import EnrollmentConfig
    from edge.store import ProfileStore
    from edge.types import Profile

HELP = "list, show, confirm, revert, reset, rename, delete, export or import profiles"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and what each takes."""
    actions = options.add_actions(
        parser,
        ("list", "list everyone enrolled", _list),
        ("show", "show one profile", _show),
        (
            "confirm",
            "let a person open who was enrolled over MQTT",
            _change(
                "confirmed",
                lambda store, person, _: store.confirm(person),
                done="{} is confirmed and may open.",
            ),
        ),
        (
            "revert",
            "forget what was learned since enrollment",
            _change(
                "reverted",
                lambda store, person, _: store.forget_adaptation(person),
                question="Forget what was learned about {} since enrollment?",
                done="{} is back to the enrolled signature.",
            ),
        ),
        (
            "reset",
            "delete a signature; the name and id stay",
            _change(
                "reset",
                lambda store, person, _: store.reset(person),
                question="Delete the signature of {}?",
                done="{} is reset: run 'edge-voice enroll' to enroll again.",
            ),
        ),
        (
            "rename",
            "rename a profile",
            _change(
                "renamed",
                lambda store, person, args: store.rename(person, args.new_name),
                done="{} is now {}.",
            ),
        ),
        ("delete", "delete a profile and its signature", _delete),
        ("export", "write a profile to an encrypted file", _export),
        ("import", "add a profile from an encrypted file", _import),
    )
    for name, action in actions.items():
        if name not in ("list", "import"):
            action.add_argument("profile", metavar="NAME", help="the profile's name or id")
        if name == "rename":
            action.add_argument("new_name", metavar="NEW_NAME", help="its new name")
        if name in ("export", "import"):
            action.add_argument("file", metavar="FILE", type=Path, help="the encrypted file")
            add_passphrase_file(action)
        if name == "import":
            action.add_argument("--as", dest="new_name", metavar="NAME", help="use another name")
        if name in ("revert", "reset", "delete", "export"):
            action.add_argument("-y", "--yes", action="store_true", help="do not ask")


run = options.perform


def _list(args: argparse.Namespace) -> int:
    with options.store_of(args) as store:
        profiles = store.list()
    if args.json:
        content = [{**each.as_dict(), "duress_of": each.duress_of} for each in profiles]
        show_json({"profiles": content})
    elif not profiles:
        show(NOBODY_ENROLLED)
    else:
        _print_table(profiles)
    return EXIT_OK


def _show(args: argparse.Namespace) -> int:
    from edge.challenge.rounds import rounds_of, summary_of
    from edge.cli.enroll_digits import summary_line

    with options.store_of(args) as store:
        profile = store.get(args.profile)
        rounds = rounds_of(store, profile.id)
    if args.json:
        shown = {**profile.as_dict(), "drift": round(_drift(profile), 4)}
        show_json({"profile": {**shown, "digits": summary_of(rounds)}})
        return EXIT_OK
    settings = options.config_of(args).enrollment
    by_phrase = profile.kind.value == "phrase"
    show(profile.name)
    for title, value in (
        ("id", profile.id),
        ("kind", _kind(profile)),
        ("phrase", profile.phrase or "not recorded"),
        ("status", f"{profile.status.value}, {_progress(profile)}"),
        *_waiting(profile),
        *(
            []
            if by_phrase
            else [("", "recognized, but opens nothing: a voice without a passphrase")]
        ),
        ("adapted", _adapted(profile, settings)),
        ("digits", summary_line(rounds)),
        ("heard", ", ".join(profile.microphones) or "not known"),
        ("created", local_time(profile.created_at)),
        ("changed", local_time(profile.updated_at)),
        ("models", _models(profile)),
    ):
        if title not in ("phrase", "adapted", "digits") or by_phrase:
            show(f"  {title:<8} {value}")
    return EXIT_OK


def _change(
    what: str,
    change: Callable[[ProfileStore, str, argparse.Namespace], Profile],
    *,
    question: str = "",
    done: str,
) -> Callable[[argparse.Namespace], int]:
    """An action that changes a profile; {} in the texts is the name, then the new name."""

    def perform(args: argparse.Namespace) -> int:
        with options.store_of(args) as store:
            profile_id, name = store.find(args.profile)
            if question and not confirmed(question.format(name), yes=args.yes):
                return EXIT_REJECTED
            profile = change(store, profile_id, args)
            options.audit(store, options.config_of(args), "change", profile_id, what=what)
        return show_result(args, {"profile": profile.as_dict()}, done.format(name, profile.name))

    return perform


def _delete(args: argparse.Namespace) -> int:
    with options.store_of(args) as store:
        profile_id, name = store.find(args.profile)
        if not confirmed(f"Delete {name} and the signature?", yes=args.yes):
            return EXIT_REJECTED
        store.delete(profile_id)
        options.audit(store, options.config_of(args), "deletion", profile_id)
    return show_result(args, {"deleted": {"id": profile_id, "name": name}}, f"{name} is deleted.")


def _export(args: argparse.Namespace) -> int:
    from edge.crypto.keys import check_passphrase
    from edge.store.transfer import write_person

    with options.store_of(args) as store:
        person, file = store.export(args.profile), args.file
        replace = file.exists()
        if replace and not confirmed(f"Overwrite {file}?", yes=args.yes):
            return EXIT_REJECTED
        passphrase = given_passphrase(args.passphrase_file, f"New passphrase for {file}", new=True)
        check_passphrase(passphrase)
        write_person(file, person, passphrase, replace=replace)
        options.audit(store, options.config_of(args), "export", person.profile.id)
    name = person.profile.name
    return show_result(
        args,
        {"exported": {"id": person.profile.id, "name": name, "file": str(file)}},
        f"{name} exported to {file}: with it and the passphrase, anyone has the signature.",
    )


def _import(args: argparse.Namespace) -> int:
    from edge.store.transfer import read_person

    with options.store_of(args) as store:
        question = f"Passphrase of {args.file}"
        person = read_person(
            args.file, lambda: given_passphrase(args.passphrase_file, question, new=False)
        )
        try:
            profile = store.import_person(person, args.new_name)
        except ProfileError as error:
            hint = "" if args.new_name else "; add --as NAME"
            raise ProfileError(f"{error}{hint}, nothing was imported") from None
        options.audit(store, options.config_of(args), "import", profile.id)
    return show_result(
        args,
        {"profile": profile.as_dict()},
        f"{profile.name} is imported ({profile.status.value}).",
    )


def _print_table(profiles: list[Profile]) -> None:
    """Print each person, followed by their duress phrase."""
    from rich.text import Text

    table = new_table("NAME", "KIND", "STATUS", "ENROLLED SO FAR", "CHANGED")
    places = {profile.id: place for place, profile in enumerate(profiles)}
    for profile in sorted(profiles, key=lambda each: places.get(each.duress_of or each.id, -1)):
        done = profile.status.value == "enrolled"
        table.add_row(
            Text(f"  {profile.name}" if profile.duress_of else profile.name),
            _kind(profile),
            Text(profile.status.value, style="green" if done else "yellow"),
            _progress(profile),
            local_time(profile.updated_at),
        )
    show_table(table)


def _waiting(profile: Profile) -> list[tuple[str, str]]:
    """What to do about somebody who was enrolled over MQTT."""
    if profile.status.value != "unconfirmed":
        return []
    when = local_time(profile.enrolled[-1].created_at)
    text = f"opens nothing: if {profile.name} enrolled at {when}, run edge-voice profiles confirm"
    return [("", text)]


def _kind(profile: Profile) -> str:
    if profile.duress_of is not None:
        return "duress phrase"
    return "passphrase" if profile.kind.value == "phrase" else "voice"


def _progress(profile: Profile) -> str:
    if profile.kind.value == "phrase":
        return f"{profile.progress:.0f} of {profile.required:.0f} repetitions"
    return f"{profile.progress:.1f} of {profile.required:.0f} s of speech"


def _adapted(profile: Profile, settings: EnrollmentConfig) -> str:
    if not profile.adapted:
        return "nothing yet" if settings.adapt else "no (enrollment.adapt is off)"
    latest = max(sample.created_at for sample in profile.adapted)
    return (
        f"{len(profile.adapted)} of at most {settings.adapt_samples} utterances,"
        f" drift {_drift(profile):.3f} (0 none, 1 another voice); latest {local_time(latest)}"
        f"{'' if settings.adapt else '; now off'}"
    )


def _drift(profile: Profile) -> float:
    if not profile.adapted:
        return 0.0
    from edge.recognition.adaptation import drift_of

    return drift_of(profile)


def _models(profile: Profile) -> str:
    models = [model[:12] for model in (profile.speaker_model, profile.phrase_model) if model]
    return ", ".join(models) or "none yet"
