"""`edge-voice profiles`: who is enrolled on this device."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.auditing import audited
from edge.cli.output import console, printing, show, show_json
from edge.cli.prompts import add_passphrase_file, confirmed, given_passphrase
from edge.errors import EXIT_OK, EXIT_REJECTED

if TYPE_CHECKING:
    from edge.config import EnrollmentConfig
    from edge.types import Profile

NAME = "profiles"
HELP = "list, show, revert, reset, rename, delete, export or import who is enrolled"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and what each takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, help_text, run in (
        ("list", "list everybody", _list),
        ("show", "show one profile", _show),
        ("revert", "forget what was learned since enrollment", _revert),
        ("reset", "forget a signature; the name and id stay", _reset),
        ("rename", "give a profile another name", _rename),
        ("delete", "delete a profile and its signature", _delete),
        ("export", "write a profile to an encrypted file", _export),
        ("import", "add a profile from an encrypted file", _import),
    ):
        action = actions.add_parser(name, help=help_text, description=help_text)
        if name not in ("list", "import"):
            action.add_argument("profile", metavar="NAME", help="the profile's name or id")
        if name == "rename":
            action.add_argument("new_name", metavar="NEW_NAME", help="its new name")
        if name in ("export", "import"):
            action.add_argument("file", metavar="FILE", type=Path, help="the encrypted file")
            add_passphrase_file(action)
        if name == "import":
            action.add_argument("--as", dest="new_name", metavar="NAME", help="under another name")
        if name in ("revert", "reset", "delete", "export"):
            action.add_argument("-y", "--yes", action="store_true", help="do not ask")
        options.add_common(action)
        action.set_defaults(perform=run)


def run(args: argparse.Namespace) -> int:
    """Perform the action."""
    code: int = args.perform(args)
    return code


def _list(args: argparse.Namespace) -> int:
    with options.store_of(args) as store:
        profiles = store.list()
    if args.json:
        content = [{**each.as_dict(), "duress_of": each.duress_of} for each in profiles]
        show_json({"profiles": content})
    elif not profiles:
        show("Nobody is enrolled yet: run 'edge-voice enroll NAME'.")
    else:
        _print_table(_under_their_owners(profiles))
    return EXIT_OK


def _show(args: argparse.Namespace) -> int:
    from edge.challenge.rounds import rounds_of
    from edge.cli import enroll_digits

    with options.store_of(args) as store:
        profile = store.get(args.profile)
        rounds = rounds_of(store, profile.id)
    if args.json:
        shown = {**profile.as_dict(), "drift": round(_drift(profile), 4)}
        show_json({"profile": {**shown, "digits": enroll_digits.summary_of(rounds)}})
        return EXIT_OK
    settings = options.config_of(args).enrollment
    show(profile.name)
    for title, value in (
        ("id", profile.id),
        ("kind", _kind(profile)),
        ("phrase", profile.phrase or "not written down"),
        ("status", f"{profile.status.value}, {_progress(profile)}"),
        ("adapted", _adapted(profile, settings)),
        ("digits", enroll_digits.show_line(rounds)),
        ("created", _when(profile.created_at)),
        ("changed", _when(profile.updated_at)),
        ("models", _models(profile)),
    ):
        if title not in ("phrase", "adapted", "digits") or profile.kind.value == "phrase":
            show(f"  {title:<8} {value}")
    return EXIT_OK


def _revert(args: argparse.Namespace) -> int:
    with options.store_of(args) as store:
        profile_id, name = store.find(args.profile)
        if not confirmed(f"Forget what was learned of {name} since enrollment?", yes=args.yes):
            return EXIT_REJECTED
        profile = store.forget_adaptation(profile_id)
        audited(store, options.config_of(args))("change", profile_id, what="reverted")
    if args.json:
        show_json({"profile": profile.as_dict()})
    else:
        show(f"{name} is known by the enrollment alone.")
    return EXIT_OK


def _reset(args: argparse.Namespace) -> int:
    with options.store_of(args) as store:
        profile_id, name = store.find(args.profile)
        if not confirmed(f"Forget the signature of {name}?", yes=args.yes):
            return EXIT_REJECTED
        profile = store.reset(profile_id)
        audited(store, options.config_of(args))("change", profile_id, what="reset")
    if args.json:
        show_json({"profile": profile.as_dict()})
    else:
        show(f"{name} is reset: run 'edge-voice enroll' to enroll again.")
    return EXIT_OK


def _rename(args: argparse.Namespace) -> int:
    with options.store_of(args) as store:
        profile_id, name = store.find(args.profile)
        profile = store.rename(profile_id, args.new_name)
        audited(store, options.config_of(args))("change", profile_id, what="renamed")
    if args.json:
        show_json({"profile": profile.as_dict()})
    else:
        show(f"{name} is now {profile.name}.")
    return EXIT_OK


def _delete(args: argparse.Namespace) -> int:
    with options.store_of(args) as store:
        profile_id, name = store.find(args.profile)
        if not confirmed(f"Delete {name} and their signature?", yes=args.yes):
            return EXIT_REJECTED
        store.delete(profile_id)
        audited(store, options.config_of(args))("deletion", profile_id)
    if args.json:
        show_json({"deleted": {"id": profile_id, "name": name}})
    else:
        show(f"{name} is deleted.")
    return EXIT_OK


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
        audited(store, options.config_of(args))("export", person.profile.id)
    name = person.profile.name
    if args.json:
        show_json({"exported": {"id": person.profile.id, "name": name, "file": str(file)}})
    else:
        show(f"{name} is in {file}: whoever has it and the passphrase has the signature.")
    return EXIT_OK


def _import(args: argparse.Namespace) -> int:
    from edge.errors import ProfileError
    from edge.store.transfer import read_person

    with options.store_of(args) as store:
        passphrase = given_passphrase(args.passphrase_file, f"Passphrase of {args.file}", new=False)
        person = read_person(args.file, passphrase)
        try:
            profile = store.import_person(person, args.new_name)
        except ProfileError as error:
            hint = "" if args.new_name else "; add --as NAME"
            raise ProfileError(f"{error}{hint}, nothing was imported") from None
        audited(store, options.config_of(args))("import", profile.id)
    if args.json:
        show_json({"profile": profile.as_dict()})
    else:
        show(f"{profile.name} is {profile.status.value}.")
    return EXIT_OK


def _print_table(profiles: list[Profile]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("NAME", "KIND", "STATUS", "ENROLLED SO FAR", "CHANGED"):
        table.add_column(title, overflow="fold")
    for profile in profiles:
        done = profile.remaining <= 0
        table.add_row(
            Text(f"  {profile.name}" if profile.duress_of else profile.name),
            _kind(profile),
            Text(profile.status.value, style="green" if done else "yellow"),
            _progress(profile),
            _when(profile.updated_at),
        )
    with printing():
        console(sys.stdout).print(table)


def _under_their_owners(profiles: list[Profile]) -> list[Profile]:
    """Each person, and then their duress phrase."""
    places = {profile.id: place for place, profile in enumerate(profiles)}
    return sorted(profiles, key=lambda each: places.get(each.duress_of or each.id, -1))


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
        f" drift {_drift(profile):.3f} (0 none, 1 another voice); latest {_when(latest)}"
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


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
