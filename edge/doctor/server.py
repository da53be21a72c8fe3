"""The HTTP server, where other machines can reach it: its unit and its certificate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from edge.crypto.certificates import OWN_FILE, RENEW_BEFORE, read_certificate, time_left
from edge.doctor.context import SERVER_UNIT, Context, ask_systemd
from edge.doctor.finding import Finding, green, red, skipped, yellow

HERE = skipped("http_server.here", "http.address is for programs on this machine alone")
NOT_RUNNING = yellow(
    "http_server.not_running",
    "http.address is {address}, and the unit edge-voice-serve is not running ({state})",
    "run: sudo systemctl enable --now edge-voice-serve; if it ends: journalctl -u edge-voice-serve",
)
RUNNING = green("http_server.running", "the unit edge-voice-serve is running")
NOT_MADE = skipped("http_certificate.absent", "the server makes its certificate as it starts")
UNREADABLE = red(
    "http_certificate.unreadable",
    "{file} is no certificate that can be read",
    "check http.cert_file; remove the file if it is in the state directory",
)
ENDED = red("http_certificate.ended", "its certificate ended on {day}", "{remedy}")
ENDS = yellow("http_certificate.ends", "its certificate ends on {day}", "{remedy}")
VALID = green("http_certificate.valid", "its certificate is valid until {day}")


def check(context: Context) -> Iterator[Finding]:
    """Whether it runs, and until when its certificate is valid."""
    http = context.config.http
    if http.stays_here:
        yield HERE()
        return
    unit = ask_systemd(SERVER_UNIT)
    if unit.running:
        yield RUNNING()
    elif unit.properties:
        state = unit.properties.get("ActiveState", "unknown")
        yield NOT_RUNNING(address=http.address, state=state)
    file = http.cert_file or context.config.state_path / OWN_FILE
    try:
        certificate = read_certificate(file)
    except FileNotFoundError:
        yield NOT_MADE() if http.cert_file is None else UNREADABLE(file=file)
        return
    except (OSError, ValueError):
        yield UNREADABLE(file=file)
        return
    left = time_left(certificate)
    day = certificate.not_valid_after_utc.date().isoformat()
    remedy = "have the file of http.cert_file renewed; the server notices within an hour"
    if http.cert_file is None:
        remedy = "the server renews it while it runs: sudo systemctl restart edge-voice-serve"
    if left < timedelta():
        yield ENDED(day=day, remedy=remedy)
    elif left < RENEW_BEFORE:
        yield ENDS(day=day, remedy=remedy)
    else:
        yield VALID(day=day)
