"""What S3 does when it is not well, and what must come of it."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from imgctl_core import CancelToken, Context
from imgctl_core.errors import (
    Cancelled,
    Conflict,
    DeadlineExceeded,
    EndpointDenied,
    EndpointFailed,
    EndpointUnreachable,
    ImgctlError,
    VerificationFailed,
)

DENIED = (
    "User: arn:aws:iam::111122223333:user/imgctl is not authorized to perform: s3:PutObject on "
    'resource: "arn:aws:s3:::shop-prod/v1/f3.js"'
)


@pytest.fixture(autouse=True)
def build(stub: Any) -> None:
    for number in range(6):
        stub.put("shop-dev", f"v1/f{number}.js", b"%d" % number)
    stub.put("shop-dev", "v1/index.html", b"<b>")


class Times:
    """A fault on the first copies of one file, `times` of them."""

    def __init__(self, answer: Any, times: int = 1, key: str = "v1/f3.js") -> None:
        self.left = times
        self.seen = 0
        self._answer = answer
        self._key = key

    def __call__(self, asked: Any) -> Any:
        if not asked.copies or asked.key != self._key:
            return None
        self.seen += 1
        if self.left <= 0:
            return None
        self.left -= 1
        return self._answer(asked) if callable(self._answer) else self._answer


def whole(stub: Any) -> bool:
    held = {key: found.body for key, found in stub.buckets["shop-prod"].items()}
    return held == {key: found.body for key, found in stub.buckets["shop-dev"].items()}


PASSING = {
    "slow down": (503, b"<Error><Code>SlowDown</Code></Error>"),
    "too many": (429, b""),
    "internal": (500, b"<Error><Code>InternalError</Code></Error>"),
    "conflict of writes": (409, b"<Error><Code>ConditionalRequestConflict</Code></Error>"),
    "error in a 200": (200, b"<Error><Code>InternalError</Code></Error>"),
    "slow down in a 200": (200, b"<Error><Code>SlowDown</Code></Error>"),
    "cut short": (200, b"<CopyObjectResult><ETag>&#34;ab"),
    "empty": (200, b""),
    "html": (200, b"<html><body>Welcome</body></html>"),
    "no tag": (200, b"<CopyObjectResult></CopyObjectResult>"),
    "gateway": (502, b"<html>Bad gateway</html>"),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_tried_again(stub: Any, bench: Any, reply: Any, name: str) -> None:
    fault = Times(reply(*PASSING[name]), times=4)
    stub.faults.append(fault)
    bench.promote()
    assert whole(stub)
    assert fault.seen > 4


def test_a_reset_is_tried_again(stub: Any, bench: Any, reply: Any) -> None:
    stub.faults.append(Times(reply(reset=True), times=3))
    bench.promote()
    assert whole(stub)


@pytest.mark.parametrize("name", ["slow down", "internal", "empty"])
def test_what_does_not_pass_ends_and_shows_nothing(
    stub: Any, bench: Any, reply: Any, name: str
) -> None:
    stub.faults.append(Times(reply(*PASSING[name]), times=10_000))
    with pytest.raises(EndpointFailed, match=r"failed \d+ times in a row at f3\.js"):
        bench.promote()
    assert "v1/index.html" not in stub.buckets["shop-prod"]


@pytest.mark.parametrize("status", [403, 200])
def test_a_denial_in_the_middle_names_action_and_principal(
    stub: Any, bench: Any, fail: Any, status: int
) -> None:
    stub.faults.append(Times(fail(status, "AccessDenied", DENIED), times=10_000))
    with pytest.raises(EndpointDenied) as caught:
        bench.promote()
    assert "arn:aws:iam::111122223333:user/imgctl" in caught.value.message
    assert "s3:PutObject" in caught.value.message
    assert "v1/index.html" not in stub.buckets["shop-prod"]


def test_a_denied_list_is_told_at_once(stub: Any, bench: Any, fail: Any) -> None:
    stub.faults.append(
        lambda a: (
            fail(403, "AccessDenied", "not authorized to perform: s3:ListBucket")
            if a.bucket == "shop-prod"
            else None
        )
    )
    with pytest.raises(EndpointDenied, match=r"shop-prod .*environment prod.*s3:ListBucket"):
        bench.plan()


def test_our_own_copy_whose_answer_was_lost_is_no_conflict(
    stub: Any, bench: Any, reply: Any
) -> None:
    def copy_and_hang_up(asked: Any) -> Any:
        with stub._lock:
            stub._answer(asked)
        return reply(reset=True)

    fault = Times(copy_and_hang_up)
    stub.faults.append(fault)
    bench.promote()
    assert whole(stub)
    assert fault.seen == 2


@pytest.mark.parametrize("key", ["v1/f3.js", "v1/index.html"])
def test_somebody_elses_file_that_was_faster_is_a_conflict(stub: Any, bench: Any, key: str) -> None:
    def overtake(asked: Any) -> None:
        stub.put("shop-prod", asked.key, b"theirs")

    stub.faults.append(Times(overtake, key=key))
    with pytest.raises(Conflict, match=key.removeprefix("v1/")):
        bench.promote()
    assert stub.buckets["shop-prod"][key].body == b"theirs"


def test_a_replaced_file_that_somebody_else_replaced_is_a_conflict(stub: Any, bench: Any) -> None:
    stub.put("shop-prod", "v1/f3.js", b"old")
    stub.faults.append(Times(lambda asked: stub.put("shop-prod", asked.key, b"theirs")))
    with pytest.raises(Conflict, match=r"somebody else wrote 'f3\.js'"):
        bench.promote(replace=True)
    assert stub.buckets["shop-prod"]["v1/f3.js"].body == b"theirs"


@pytest.mark.parametrize("condition", ["", "<Condition>x-amz-copy-source-If-Match</Condition>"])
def test_a_source_that_changes_meanwhile_is_told(
    stub: Any, bench: Any, fail: Any, condition: str
) -> None:
    def change(asked: Any) -> Any:
        stub.put("shop-dev", asked.key, b"new")
        return fail(412, "PreconditionFailed", extra=condition)

    stub.faults.append(Times(change))
    with pytest.raises(EndpointFailed, match=r"source changed .*'f3\.js'"):
        bench.promote()
    assert "v1/f3.js" not in stub.buckets["shop-prod"]


def test_a_source_file_that_vanishes_is_told(stub: Any, bench: Any) -> None:
    plan = bench.plan()
    del stub.buckets["shop-dev"]["v1/f3.js"]
    with pytest.raises(EndpointFailed, match=r"source changed .*'f3\.js'"):
        bench.promoter.stage(plan, Context())


def test_servers_without_conditional_copies(stub: Any, bench: Any, fail: Any) -> None:
    stub.faults.append(
        lambda a: fail(501, "NotImplemented") if a.copies and "if-none-match" in a.headers else None
    )
    bench.promote()
    assert whole(stub)


def test_every_copy_carries_its_guards(stub: Any, make_bench: Any) -> None:
    bench = make_bench(
        stub.url, dev={"bucket_owner": stub.owner}, prod={"bucket_owner": stub.owner}
    )
    bench.promote()
    for asked in stub.asked:
        if asked.copies:
            key = asked.key
            tag = stub.buckets["shop-dev"][key].etag
            assert asked.headers["x-amz-copy-source-if-match"] == f'"{tag}"'
            assert asked.headers["if-none-match"] == "*"
            assert asked.headers["x-amz-metadata-directive"] == "COPY"
            assert asked.headers["x-amz-tagging-directive"] == "COPY"
            assert asked.headers["x-amz-source-expected-bucket-owner"] == stub.owner
            assert "x-amz-acl" not in asked.headers
        assert asked.headers["x-amz-expected-bucket-owner"] == stub.owner


def test_tags_can_be_left_out(stub: Any, make_bench: Any) -> None:
    make_bench(stub.url, settings={"copy_tags": False}).promote()
    directives = {a.headers["x-amz-tagging-directive"] for a in stub.asked if a.copies}
    assert directives == {"REPLACE"}


@pytest.mark.parametrize("end", ["dev", "prod"])
def test_somebody_elses_bucket_is_refused(stub: Any, make_bench: Any, end: str) -> None:
    bench = make_bench(stub.url, **{end: {"bucket_owner": "999999999999"}})
    with pytest.raises(EndpointDenied, match=f"shop-{end}"):
        bench.plan()
    assert stub.writes() == []


@pytest.mark.parametrize("phase", ["open", "list", "stage"])
def test_cancelling_takes_less_than_two_seconds(
    stub: Any, make_bench: Any, hasty: Any, phase: str
) -> None:
    bench = make_bench(stub.url, patience=replace(hasty, silence=60.0))
    reached, release = threading.Event(), threading.Event()

    def hang(asked: Any) -> None:
        preflight = "max-keys" in asked.query
        now = {"open": preflight, "list": not preflight, "stage": asked.copies}[phase]
        if now:
            reached.set()
            release.wait(30)

    stub.faults.append(hang)
    cancel = CancelToken()

    def stop() -> None:
        reached.wait(30)
        cancel.cancel()

    threading.Thread(target=stop).start()
    with pytest.raises(Cancelled):
        bench.promote(context=Context(cancel=cancel))
    ended = time.monotonic()
    release.set()
    assert reached.is_set()
    assert cancel.cancelled
    assert "v1/index.html" not in stub.buckets["shop-prod"]
    assert time.monotonic() - ended < 2


def test_a_deadline_ends_a_copy_that_hangs(stub: Any, make_bench: Any, hasty: Any) -> None:
    bench = make_bench(stub.url, patience=replace(hasty, silence=60.0))
    plan, release = bench.plan(), threading.Event()
    stub.faults.append(lambda a: release.wait(30) and None if a.copies else None)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        bench.promoter.stage(plan, Context(deadline=started + 0.3))
    took = time.monotonic() - started
    release.set()
    assert took < 3


def test_a_copy_without_an_answer_is_tried_again(stub: Any, make_bench: Any, hasty: Any) -> None:
    bench = make_bench(stub.url, patience=replace(hasty, silence=1.0))
    plan, release = bench.plan(), threading.Event()

    def hang(asked: Any) -> None:
        release.wait(30)

    stub.faults.append(Times(hang))
    started = time.monotonic()
    bench.promoter.stage(plan, Context())
    assert time.monotonic() - started < 20
    release.set()
    assert "v1/f3.js" in stub.buckets["shop-prod"]


def test_a_copy_that_was_answered_and_not_made_is_found_out(
    stub: Any, bench: Any, reply: Any
) -> None:
    lie = b"<CopyObjectResult><ETag>&quot;0&quot;</ETag></CopyObjectResult>"
    stub.faults.append(Times(reply(body=lie)))
    plan = bench.plan()
    with pytest.raises(VerificationFailed, match=r"1 file missing: 'f3\.js'"):
        bench.promoter.stage(plan, Context())


def test_an_endpoint_that_is_down_is_known_soon(make_bench: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        bench = make_bench(f"http://127.0.0.1:{taken.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(EndpointUnreachable, match=r"shop-dev .*can't be reached"):
            bench.plan()
    assert time.monotonic() - started < 10


def test_an_endpoint_that_never_answers_is_unreachable(
    stub: Any, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgctl_backends.spa.promoter.OPEN_WITHIN", 1.5)
    release = threading.Event()
    stub.faults.append(lambda a: release.wait(30) and None if a.bucket == "shop-prod" else None)
    with pytest.raises(EndpointUnreachable, match=r"shop-prod .*no answer within"):
        bench.plan()
    release.set()


def test_an_endpoint_that_goes_down_midway(stub: Any, bench: Any, reply: Any) -> None:
    plan = bench.plan()
    stub.faults.append(lambda _: reply(reset=True))
    with pytest.raises(EndpointUnreachable, match=r"can't be reached: the connection failed"):
        bench.promoter.stage(plan, Context())


def test_a_wrong_clock_is_named(stub: Any, bench: Any, fail: Any) -> None:
    stub.faults.append(Times(fail(403, "RequestTimeTooSkewed"), times=10_000))
    with pytest.raises(EndpointFailed, match="clock is wrong"):
        bench.promote()


@pytest.mark.parametrize("body", [b"<html/>", b"", b"<!DOCTYPE x><ListBucketResult/>"])
def test_a_list_that_is_none(stub: Any, bench: Any, reply: Any, body: bytes) -> None:
    stub.faults.append(
        lambda a: reply(body=body) if not a.key and "max-keys" not in a.query else None
    )
    with pytest.raises(ImgctlError) as caught:
        bench.plan()
    assert isinstance(caught.value, EndpointFailed)


def test_entity_tags_that_are_no_hashes_of_the_content(stub: Any, bench: Any) -> None:
    stub.kms = True
    plan = bench.promote()
    assert whole(stub)
    assert bench.plan().unchanged
    assert bench.plan().digest == plan.digest
    stub.put("shop-prod", "v1/f3.js", b"x")
    with pytest.raises(Conflict, match=r"f3\.js"):
        bench.plan()


def test_entity_tags_that_say_nothing_at_all(stub: Any, bench: Any) -> None:
    stub.odd_tags = True
    for key in list(stub.buckets["shop-dev"]):
        stub.put("shop-dev", key, stub.buckets["shop-dev"][key].body)
    plan = bench.promote()
    assert whole(stub)
    for key in list(stub.buckets["shop-dev"]):  # written again: other tags, same content
        stub.put("shop-dev", key, stub.buckets["shop-dev"][key].body)
    again = bench.plan()
    assert again.unchanged
    assert again.digest == plan.digest
    stub.put("shop-prod", "v1/f3.js", b"x")
    with pytest.raises(Conflict, match=r"f3\.js"):
        bench.plan()
