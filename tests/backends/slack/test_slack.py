from __future__ import annotations

import logging
import socket
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from imgctl_backends.slack import imgctl_notifiers
from imgctl_backends.slack.message import compose, escape
from imgctl_backends.slack.notifier import SlackNotifier
from imgctl_backends.slack.settings import SlackSettings
from imgctl_core import Action, Actor, Context, ItemResult, Outcome, PromotionEvent
from imgctl_core.errors import (
    DeadlineExceeded,
    EndpointDenied,
    EndpointFailed,
    EndpointUnreachable,
    ImgctlError,
)

SECRET = "very-secret-part"


def notifier(url: str, **settings: Any) -> SlackNotifier:
    return SlackNotifier(SlackSettings.model_validate({"webhook_url": url, **settings}))


def test_the_hook_gives_the_class_and_its_variable() -> None:
    assert imgctl_notifiers() == [SlackNotifier]
    assert SlackNotifier.kind == "slack"
    assert SlackNotifier.variables == {"webhook_url": "IMGCTL_SLACK_WEBHOOK_URL"}


def test_one_post_tells_all_seven_facts_of_all_items(sink: Any, event: PromotionEvent) -> None:
    notifier(sink.url).notify(event, Context())
    (post,) = sink.posts
    for fact in (
        "*promoted*",
        "app:v1",
        "spa:shop:v1",
        "from dev to prod",
        "alice@example.com",
        "sha256:" + "a" * 64,
        "sha256:" + "b" * 64,
        "12.3 s",
        "pr_1",
    ):
        assert fact in post["text"]
    assert post["unfurl_links"] is False


def test_a_single_artifact_is_named_in_the_first_line(event: PromotionEvent) -> None:
    promotion = replace(event.promotion, items=event.promotion.items[:1])
    assert "app:v1 from dev to prod" in compose(PromotionEvent(promotion)).splitlines()[0]


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Outcome.ACTIVATED, ":rocket: *activated*: spa:shop:1.4.2 is live in prod now"),
        (
            Outcome.UNCHANGED,
            ":heavy_equals_sign: *unchanged*: spa:shop:1.4.2 was live in prod already",
        ),
        (Outcome.CONFLICT, ":warning: *conflict*: making spa:shop:1.4.2 live in prod"),
        (Outcome.FAILED, ":x: *failed*: making spa:shop:1.4.2 live in prod"),
    ],
)
def test_what_went_live_reads_as_such(event: PromotionEvent, outcome: Outcome, line: str) -> None:
    promotion = replace(
        event.promotion,
        source="prod",
        items=(ItemResult("spa:shop:1.4.2", "spa", outcome, "sha256:" + "a" * 64),),
        outcome=outcome,
        action=Action.ACTIVATE,
    )
    first, second, third = compose(PromotionEvent(promotion)).splitlines()
    assert first == line
    assert second == "by alice@example.com in 12.3 s, pr_1"
    assert third == f"• spa:shop:1.4.2: {outcome.value}, sha256:{'a' * 64}"


def test_many_items_are_cut_with_their_number(event: PromotionEvent) -> None:
    items = tuple(ItemResult(f"app{n}:v1", "image", Outcome.PROMOTED) for n in range(25))
    text = compose(PromotionEvent(replace(event.promotion, items=items)))
    assert "app19:v1" in text
    assert "app20:v1" not in text
    assert "… and 5 more" in text


def test_text_from_outside_makes_no_link_mention_line_or_bold(event: PromotionEvent) -> None:
    actor = Actor("i", "s", name="<!channel> &\n*denied* <https://evil.example|click> `x`")
    text = compose(PromotionEvent(replace(event.promotion, actor=actor)))
    assert "<" not in text
    assert ">" not in text
    assert "&lt;!channel&gt; &amp; " in text
    assert "*denied*" not in text
    assert "`x`" not in text
    assert len(text.splitlines()) == 4


def test_escape_bounds_the_length_and_leaves_names_alone() -> None:
    assert len(escape("a" * 10_000)) == 300
    assert escape("my_app-1:v1.0+x@sha256:ab") == "my_app-1:v1.0+x@sha256:ab"


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, EndpointFailed), (404, EndpointDenied), (403, EndpointDenied), (400, EndpointFailed)],
)
def test_a_refusal_is_a_typed_error_after_one_post(
    sink: Any, event: PromotionEvent, status: int, error: type[ImgctlError]
) -> None:
    sink.status, sink.body = status, b"no_service\x1b[31m"
    with pytest.raises(error, match=f"answered {status}: no_service ") as caught:
        notifier(sink.url).notify(event, Context())
    assert len(sink.posts) == 1
    assert SECRET not in repr(caught.value)


def test_a_redirect_is_not_followed(sink: Any, event: PromotionEvent) -> None:
    sink.status, sink.location = 302, sink.base + "/elsewhere"
    with pytest.raises(EndpointFailed, match="answered 302"):
        notifier(sink.url).notify(event, Context())
    assert sink.paths == ["/services/T0/B0/very-secret-part"]


def test_a_sink_that_hangs_takes_no_longer_than_the_deadline(
    sink: Any, event: PromotionEvent
) -> None:
    sink.hang.clear()
    started = time.monotonic()
    with pytest.raises(EndpointUnreachable, match="no answer in time") as caught:
        notifier(sink.url).notify(event, Context(deadline=started + 0.3))
    assert time.monotonic() - started < 5
    assert len(sink.posts) == 1
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_its_own_time_limit_holds_without_a_deadline(sink: Any, event: PromotionEvent) -> None:
    sink.hang.clear()
    with pytest.raises(EndpointUnreachable, match="no answer in time"):
        notifier(sink.url, timeout=0.2).notify(event, Context())


def test_no_post_when_the_time_is_up(sink: Any, event: PromotionEvent) -> None:
    with pytest.raises(DeadlineExceeded):
        notifier(sink.url).notify(event, Context(deadline=time.monotonic() - 1))
    assert sink.posts == []


def test_nobody_there(event: PromotionEvent) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/{SECRET}"
        with pytest.raises(EndpointUnreachable, match="Connection refused") as caught:
            notifier(url).notify(event, Context())
    assert SECRET not in str(caught.value)


def test_a_proxy_of_the_environment_does_not_divert_the_loopback(
    sink: Any, event: PromotionEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    notifier(sink.url).notify(event, Context())
    assert len(sink.posts) == 1


def test_a_proxy_is_used_for_the_real_slack(
    event: PromotionEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def serve() -> None:
            connection, _ = proxy.accept()
            with connection:
                asked.append(connection.recv(200))
                connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with pytest.raises(EndpointUnreachable) as caught:
            notifier(f"https://hooks.slack.test/{SECRET}").notify(event, Context())
        thread.join()
    assert asked[0].startswith(b"CONNECT hooks.slack.test:443")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("status", [200, 500])
def test_the_address_is_never_logged(
    sink: Any, event: PromotionEvent, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    sink.status = status
    caplog.set_level(logging.DEBUG)
    for name in ("slack_sdk", "slack_sdk.webhook.client", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name)
    told = notifier(sink.url)
    try:
        told.notify(event, Context())
    except EndpointFailed:
        assert status == 500
    assert SECRET not in caplog.text
    assert SECRET not in repr(told.settings)
    assert SECRET not in told.settings.model_dump_json()


@pytest.mark.parametrize(
    "url",
    ["hooks.slack.com/very-secret-part", "http://hooks.slack.com/very-secret-part",
     "ftp://x/very-secret-part", "https:///very-secret-part", "https://h:x/very-secret-part"],
)  # fmt: skip
def test_a_bad_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        notifier(url)
    assert SECRET not in str(caught.value)


def test_a_peer_that_is_gone_before_tls_leaves_no_socket_behind(
    event: PromotionEvent, cut_before_tls: Any
) -> None:
    with pytest.raises(EndpointUnreachable) as caught:
        notifier(f"https://{cut_before_tls.host}/services/x").notify(event, Context())
    assert cut_before_tls.left_open() == []
    assert caught.traceback
