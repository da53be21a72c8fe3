"""The application: every interface behind one guard."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware

from edge import cloud_api, page
from edge.web.addresses import own_names
from edge.web.context import WebContext
from edge.web.guard import Guard


def build_application(context: WebContext) -> Starlette:
    """Put the interfaces together."""
    application = Starlette(
        routes=[*cloud_api.routes(), *page.routes()],
        middleware=[Middleware(Guard, names=own_names(context.config.http))],
    )
    application.router.redirect_slashes = False
    application.state.context = context
    return application
