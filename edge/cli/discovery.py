"""`edge-voice discovery`: show or remove the device's entities in Home Assistant."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.output import json_text, show, show_as_is, show_json
from edge.errors import EXIT_OK, EnvironmentFault, InputError

if TYPE_CHECKING:
    from edge.mqtt.session import Session

HELP = "show or remove this device's entities in Home Assistant"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = options.add_actions(
        parser,
        ("show", "show every entity, and why some are not announced", _show),
        ("remove", "remove every entity of this device from Home Assistant", _remove),
    )
    actions["remove"].add_argument(
        "--prefix", metavar="TOPIC", help="where it was announced (default: homeassistant.prefix)"
    )
    actions["remove"].add_argument(
        "--device",
        metavar="ID",
        help="the device whose entities to remove, such as a former device.id (default: device.id)",
    )


run = options.perform


def _show(args: argparse.Namespace) -> int:
    from edge.mqtt import discovery

    config = options.config_of(args)
    device_id, prefix = config.device.id, config.homeassistant.prefix
    rows = []
    for entity in discovery.entities(config):
        missing = discovery.missing(entity, config)
        needs = f"commands.unsigned.{entity.needs}" if entity.needs else None
        rows.append(
            {
                "entity_id": discovery.entity_id(device_id, entity),
                "name": entity.name,
                "announced": missing is None and config.homeassistant.discovery,
                "needs": missing or needs,
                "allowed": missing is None,
                "topic": discovery.config_topic(prefix, device_id, entity),
                "config": discovery.payload(config, entity),
            }
        )
    if args.json:
        show_json({"discovery": config.homeassistant.discovery, "entities": rows})
        return EXIT_OK
    on = config.homeassistant.discovery
    show(
        "Announced to Home Assistant:"
        if on
        else "Nothing is announced: homeassistant.discovery is off. These would be:"
    )
    width = max(len(str(row["entity_id"])) for row in rows)
    for row in rows:
        if row["allowed"]:
            show(f"  {row['entity_id']:<{width}}  {row['name']}")
    if not all(row["allowed"] for row in rows):
        show("Not announced until a setting allows them:")
    for row in rows:
        if not row["allowed"]:
            show(f"  {row['entity_id']:<{width}}  {row['name']:<18} {row['needs']}")
    if config.identification.enabled:
        show("And binary_sensor entities for the people who are enrolled, one each.")
    if args.verbose:
        for row in rows:
            if row["allowed"]:
                show_as_is(f"\n{row['topic']}")
                show_as_is(json_text(row["config"], indent=2))
    return EXIT_OK


def _remove(args: argparse.Namespace) -> int:
    from edge.mqtt import discovery
    from edge.mqtt.session import Session, json_object
    from edge.mqtt.topics import Topics

    config = options.config_of(args)
    prefix = config.homeassistant.prefix if args.prefix is None else args.prefix
    device_id = config.device.id if args.device is None else args.device
    _check(prefix, device_id)
    if not config.mqtt.enabled:
        raise InputError("mqtt.enabled is off: there is no broker to remove them from")
    with Session(config.mqtt, "discovery") as session:
        found = _announced(session, prefix, device_id)
        for topic in sorted({*discovery.removal(prefix, device_id), *found}):
            session.publish(topic, "", retain=True)
        left = _announced(session, prefix, device_id)
        if left:
            raise EnvironmentFault(
                f"{session.place}: still keeps {len(left)} of them, such as {min(left)}; check that"
                " its access list lets this user write these topics"
            )
        status = session.retained(Topics(config.mqtt.base_topic, device_id).status)
    again = config.homeassistant.discovery and (prefix, device_id) == (
        config.homeassistant.prefix,
        config.device.id,
    )
    running = any(json_object(text).get("state") == "online" for text in status.values())
    if args.json:
        show_json({"removed": sorted(found), "running": running, "comes_back": again})
        return EXIT_OK
    count = "1 entity was" if len(found) == 1 else f"{len(found)} entities were"
    show(f"{count} removed.")
    if again:
        who = "The service is running, and" if running else "The service"
        show(
            f"{who} will announce them again when it starts, reconnects, or Home Assistant starts:"
            " homeassistant.discovery is on."
        )
    elif running:
        show(
            "The service is running: restart it if its settings have changed since it started, or"
            " it will announce them again."
        )
    return EXIT_OK


def _announced(session: Session, prefix: str, device_id: str) -> set[str]:
    """The topics on which the broker keeps entities of the device, also those of other versions."""
    from edge.mqtt import discovery

    topics = session.retained(discovery.filter_of(prefix, device_id))
    return {topic for topic in topics if discovery.is_of(topic, prefix, device_id)}


def _check(prefix: str, device_id: str) -> None:
    """Raises `InputError` for a prefix or device id that could match other devices' topics."""
    from edge.config import all_settings
    from edge.config.texts import fault
    from edge.config.values import quoted

    rules = {setting.path: setting.rule for setting in all_settings()}
    for option, path, text in (
        ("--prefix", "homeassistant.prefix", prefix),
        ("--device", "device.id", device_id),
    ):
        rule = rules[path]
        problem = fault(rule.use, text)
        if problem is not None:
            raise InputError(f"{option} {quoted(text)} {problem}")
        if not re.fullmatch(rule.pattern, text) or not text.isprintable():
            raise InputError(f"{option} {text[:40]!r} cannot be used; give {rule.pattern_doc}")
