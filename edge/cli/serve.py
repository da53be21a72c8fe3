"""`edge-voice serve`: the HTTP server."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.output import complain, flush, show_json, show_result
from edge.cli.stopping import UntilStopped
from edge.errors import EXIT_OK, EnvironmentFault

if TYPE_CHECKING:
    from edge.config import Config

HELP = "serve the cloud's API and a page in the browser until stopped"

_MOST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own options."""
    parser.description = (
        "Serves recognition, enrollment and a page to clients that have a key, which 'edge-voice"
        " keys api new' makes. Anything but this machine's own address is served over TLS alone."
    )
    parser.add_argument(
        "--address", metavar="ADDRESS", type=_address, help="instead of http.address"
    )
    parser.add_argument(
        "--port", metavar="PORT", type=_port, help="instead of http.port; 0 for any that is free"
    )
    parser.add_argument(
        "--tls", action="store_true", help="serve over TLS to this machine alone, too"
    )
    parser.add_argument(
        "--fingerprint",
        action="store_true",
        help="show the certificate's SHA-256 fingerprint, made if there is none, and serve nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    from edge.cli.run import give_back_memory
    from edge.config.loading import VARIABLE

    config = _config(args)
    if args.fingerprint:
        return _show_fingerprint(args, config)
    _require_packages()
    from edge.serve.server import HttpServer

    if args.config is not None:  # the doctor, which the page starts, goes by the same settings
        os.environ[VARIABLE] = str(args.config.absolute())
    give_back_memory()
    until_stopped = UntilStopped()
    if not args.verbose:
        logging.getLogger().setLevel(config.log_level.upper())
    # What strangers send is no news; faults of this software are logged by the guard.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    http = config.http
    server = HttpServer(config, tls=args.tls or not http.stays_here or http.cert_file is not None)
    certificate = server.certificate
    _tell(args, config, server.port, None if certificate is None else certificate.fingerprint)
    if not server.has_keys:
        complain("nobody has a key yet: run 'edge-voice keys api new NAME --role manage'")
    until_stopped.run(server)
    return EXIT_OK


def _config(args: argparse.Namespace) -> Config:
    config = options.config_of(args)
    http = config.http
    if args.address is not None:
        http = replace(http, address=args.address)
    if args.port is not None:
        http = replace(http, port=args.port)
    return replace(config, http=http)


def _show_fingerprint(args: argparse.Namespace, config: Config) -> int:
    from edge.web.certificate import ServerCertificate

    certificate = ServerCertificate(config.http, config.state_path)
    ends = certificate.ends.date().isoformat()
    return show_result(
        args,
        {"fingerprint": certificate.fingerprint, "ends": ends},
        f"SHA-256 {certificate.fingerprint}",
        f"The certificate expires on {ends}.",
    )


def _tell(args: argparse.Namespace, config: Config, port: int, fingerprint: str | None) -> None:
    address = config.http.address
    host = f"[{address}]" if ":" in address else address
    url = f"{'http' if fingerprint is None else 'https'}://{host}:{port}"
    if args.json:
        show_json({"serving": {"url": url, "port": port, "fingerprint": fingerprint}})
    else:
        show_result(args, {}, f"Serving at {url}")
        if fingerprint is not None:
            show_result(args, {}, f"SHA-256 of the certificate: {fingerprint}")
    flush()


def _require_packages() -> None:
    try:
        import jinja2  # noqa: F401
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise EnvironmentFault(
            "the HTTP server needs more packages; run, in the environment of this software:"
            " pip install 'edge-voice[http]'"
        ) from None


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"invalid address {text[:40]!r}; use one such as 127.0.0.1 or 0.0.0.0"
        ) from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= _MOST_PORT):
        raise argparse.ArgumentTypeError(f"invalid port {text[:40]!r}; use 0 to {_MOST_PORT}")
    return int(text)
