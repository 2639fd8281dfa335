"""The notifier of kind `slack`: one message per ended promotion."""

from __future__ import annotations

from typing import Any

from imgctl_core import Notifier, hookimpl


@hookimpl
def imgctl_notifiers() -> list[type[Notifier[Any]]]:
    from imgctl_backends.slack.notifier import SlackNotifier

    return [SlackNotifier]
