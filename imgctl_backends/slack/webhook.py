"""slack-sdk's webhook client, kept quiet and on the straight way."""

from __future__ import annotations

import logging
from typing import Final
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import (
    BaseHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from slack_sdk.webhook import WebhookClient, WebhookResponse

from imgctl_core.hosts import is_loopback
from imgctl_core.tls import client_context

# slack-sdk logs the whole address at DEBUG, whose value is a secret; no level reaches us.
_SILENT: Final = logging.Logger("imgctl.slack.silent", logging.CRITICAL + 1)
_MOST_BODY: Final = 2000


class _NoRedirect(HTTPRedirectHandler):
    """A webhook never moves: what sends us elsewhere is something else."""

    def redirect_request(self, *_: object) -> None:
        return None


class QuietWebhookClient(WebhookClient):
    """One POST and no second one: a retry would tell people twice.

    The proxy of the environment is used as NO_PROXY allows, never for the loopback.
    """

    def __init__(self, url: str, *, timeout: float) -> None:
        super().__init__(
            url,
            timeout=timeout,  # type: ignore[arg-type]  # urllib takes fractions of seconds
            ssl=client_context(),
            logger=_SILENT,
            retry_handlers=[],
        )

    def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
        with self._opener(url).open(req, timeout=self.timeout) as answer:
            body = answer.read(_MOST_BODY).decode("utf-8", "replace")
            return WebhookResponse(
                url=url, status_code=answer.status, body=body, headers=dict(answer.headers)
            )

    def _opener(self, url: str) -> OpenerDirector:
        handlers: list[BaseHandler] = [_NoRedirect(), HTTPSHandler(context=self.ssl)]
        if is_loopback(urlsplit(url).hostname or ""):
            handlers.append(ProxyHandler({}))
        elif self.proxy:
            handlers.append(ProxyHandler({"http": self.proxy, "https": self.proxy}))
        return build_opener(*handlers)


def reason(error: Exception) -> str:
    """Return why a request failed, without the address that it went to."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return type(cause).__name__
