"""The promises of every notifier, as tests that its author gets for free."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from imgctl_core.models import Outcome
from imgctl_core.notifier import Notifier
from imgctl_core.testing.harness import NotifierHarness
from imgctl_core.testing.recording import RecordingContext, sample_event

_PATIENCE = 10.0


class NotifierContract:
    """Subclass it under a name that begins with Test, and give it the `harness` fixture."""

    @pytest.fixture
    def harness(self) -> NotifierHarness:
        raise NotImplementedError("give your subclass of NotifierContract a `harness` fixture")

    def test_it_tells_once_and_all(self, harness: NotifierHarness) -> None:
        event = sample_event()
        with _made(harness) as notifier:
            notifier.notify(event, RecordingContext())
        assert len(harness.received()) == 1, "one promotion is one message"
        (text,) = harness.received()
        promotion = event.promotion
        for fact in (promotion.source, promotion.destination, promotion.items[0].text):
            assert fact in text, f"the message must name {fact}"
        assert promotion.actor.display in text, "the message must name who promoted"

    @pytest.mark.parametrize("outcome", list(Outcome))
    def test_every_outcome_can_be_told(self, harness: NotifierHarness, outcome: Outcome) -> None:
        with _made(harness) as notifier:
            notifier.notify(sample_event(outcome), RecordingContext())
        assert len(harness.received()) == 1
        assert outcome.value in harness.received()[0].lower()

    def test_hostile_names_are_told_as_text(self, harness: NotifierHarness) -> None:
        event = sample_event(text='a<b>&"c"\u202e\n*d*:v1')
        with _made(harness) as notifier:
            notifier.notify(event, RecordingContext())
        assert len(harness.received()) == 1

    def test_failures_tell_no_secret(self, harness: NotifierHarness) -> None:
        if not harness.break_down():
            pytest.skip("this receiving side can't break down")
        context = RecordingContext()
        told = []
        with _made(harness) as notifier:
            try:
                notifier.notify(sample_event(), context)
            except Exception as error:  # noqa: BLE001 - a notifier may raise what it likes
                told += [str(error), repr(error), repr(error.__cause__)]
        told += context.lines
        for secret in harness.secrets:
            assert not any(secret in text for text in told), "a secret was told"

    def test_the_deadline_is_kept(self, harness: NotifierHarness) -> None:
        if not harness.hang():
            pytest.skip("this receiving side can't hang")
        context = RecordingContext(deadline=time.monotonic() + 0.5)
        ended = threading.Event()

        def work() -> None:
            # What it raises is not of interest here, only that it ends.
            with suppress(Exception), _made(harness) as notifier:
                notifier.notify(sample_event(), context)
            ended.set()

        threading.Thread(target=work, daemon=True).start()
        try:
            assert ended.wait(_PATIENCE), "notify did not respect context.deadline"
        finally:
            context.cancel.cancel()


@contextmanager
def _made(harness: NotifierHarness) -> Iterator[Notifier[Any]]:
    notifier = harness.make()
    try:
        yield notifier
    finally:
        notifier.close()
