"""The notifier of kind `slack`."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from typing import ClassVar

from imgctl_backends.slack.message import compose
from imgctl_backends.slack.settings import SlackSettings
from imgctl_backends.slack.webhook import QuietWebhookClient, reason
from imgctl_core import Context, Notifier, PromotionEvent
from imgctl_core.errors import (
    DeadlineExceeded,
    EndpointDenied,
    EndpointFailed,
    EndpointUnreachable,
    ImgctlError,
)


class SlackNotifier(Notifier[SlackSettings]):
    """Posts one message per ended promotion, however many artifacts it had."""

    kind: ClassVar[str] = "slack"
    variables: ClassVar[Mapping[str, str]] = {"webhook_url": "IMGCTL_SLACK_WEBHOOK_URL"}

    Settings = SlackSettings

    def notify(self, event: PromotionEvent, context: Context) -> None:
        """Post the message.

        Raises:
            EndpointUnreachable: there was no answer.
            EndpointDenied: the webhook was revoked, or never was.
            EndpointFailed: Slack refused the message.
            DeadlineExceeded: there is no time left to try.
        """
        context.check()
        left = context.remaining()
        timeout = self.settings.timeout if left is None else min(left, self.settings.timeout)
        if timeout <= 0:
            raise DeadlineExceeded("there was no time left to tell Slack")
        client = QuietWebhookClient(self.settings.webhook_url.get_secret_value(), timeout=timeout)
        try:
            answer = client.send(text=compose(event), unfurl_links=False, unfurl_media=False)
        except (OSError, HTTPException, ValueError) as error:
            # Not chained: what lies beneath may have the webhook's address in it.
            raise EndpointUnreachable(
                f"Slack's webhook can't be reached: {reason(error)}",
                fix="check that the server can reach hooks.slack.com",
            ) from None
        if answer.status_code != 200:
            raise _refused(answer.status_code, answer.body)


def _refused(status: int, body: str) -> ImgctlError:
    said = " ".join("".join(c if c.isprintable() else " " for c in body).split())[:100]
    message = f"Slack's webhook answered {status}" + (f": {said}" if said else "")
    if status in (401, 403, 404, 410):
        return EndpointDenied(message, fix="make a new webhook and set IMGCTL_SLACK_WEBHOOK_URL")
    return EndpointFailed(message, fix="see status.slack.com, and the webhook's channel")
