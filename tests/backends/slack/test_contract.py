"""The promises that every notifier makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from imgctl_backends.slack.notifier import SlackNotifier
from imgctl_backends.slack.settings import SlackSettings
from imgctl_core.testing.harness import NotifierHarness
from imgctl_core.testing.notifier_contract import NotifierContract


class SlackHarness(NotifierHarness):
    secrets = ("very-secret-part",)

    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def make(self) -> SlackNotifier:
        return SlackNotifier(SlackSettings.model_validate({"webhook_url": self._sink.url}))

    def received(self) -> Sequence[str]:
        return [post["text"] for post in self._sink.posts]

    def break_down(self) -> bool:
        self._sink.status = 500
        return True

    def hang(self) -> bool:
        self._sink.hang.clear()
        return True


class TestSlack(NotifierContract):
    @pytest.fixture
    def harness(self, sink: Any) -> NotifierHarness:
        return SlackHarness(sink)
