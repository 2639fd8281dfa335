"""CloudFront's caches forget what was switched."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from imgctl_core import CancelToken, Context
from imgctl_core.errors import DeadlineExceeded, EndpointDenied, EndpointNotFound

ID = "E1A2B3C4D5E6F7"
BASE = f"/2020-05-31/distribution/{ID}/invalidation"


@dataclass
class StubCloudFront:
    """Answers in the place of CloudFront: scripted ones first, then as it would."""

    reply: Callable[..., Any]
    #: Answers to come, by method.
    script: dict[str, list[Any]] = field(default_factory=dict)
    batches: list[tuple[str, list[str]]] = field(default_factory=list)
    looks: int = 0

    def __call__(self, asked: Any) -> Any:
        if not asked.raw.startswith("/2020-05-31/"):
            return None
        assert asked.raw.startswith(BASE)
        if asked.method == "POST":
            batch = ET.fromstring(asked.body)
            names = {element.tag.rpartition("}")[2]: element for element in batch.iter()}
            paths = [path.text or "" for path in names["Items"]]
            self.batches.append((names["CallerReference"].text or "", paths))
        else:
            self.looks += 1
        left = self.script.get(asked.method)
        answer = left.pop(0) if left else None
        if callable(answer):
            answer = answer()
        if answer is not None:
            return answer
        return self.invalidation("Completed", 201 if asked.method == "POST" else 200)

    def invalidation(self, status: str, http: int = 200) -> Any:
        body = (
            f"<Invalidation><Id>I1</Id><Status>{status}</Status>"
            "<CreateTime>2026-01-01T00:00:00Z</CreateTime><InvalidationBatch><Paths>"
            "<Quantity>0</Quantity></Paths><CallerReference>r</CallerReference>"
            "</InvalidationBatch></Invalidation>"
        )
        return self.reply(http, body.encode())

    def error(self, status: int, code: str, message: str = "says the test") -> Any:
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
            f"<Message>{message}</Message></Error></ErrorResponse>"
        )
        return self.reply(status, body.encode())


@pytest.fixture
def cloudfront(stub: Any, reply: Any, monkeypatch: pytest.MonkeyPatch) -> StubCloudFront:
    fake = StubCloudFront(reply)
    stub.faults.append(fake)
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFRONT", stub.url)
    return fake


@pytest.mark.parametrize(
    ("mode", "paths"),
    [
        ("pointer", ["/current.json"]),
        ("root", ["/", "/about.html", "/docs/", "/docs/index.html", "/index.html", "/sw.js"]),
    ],
)
def test_moto_is_asked_for_the_fewest_paths(
    stub: Any,
    moto_url: str,
    live_bench: Any,
    seed: Any,
    make_bench: Any,  # for its credentials
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    paths: list[str],
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFRONT", moto_url)
    client: Any = boto3.client("cloudfront", region_name="us-east-1")
    config = {
        "CallerReference": f"test {mode}",
        "Comment": "",
        "Enabled": True,
        "Origins": {"Quantity": 1, "Items": [{"Id": "s3", "DomainName": "shop.example"}]},
        "DefaultCacheBehavior": {"TargetOriginId": "s3", "ViewerProtocolPolicy": "allow-all"},
    }
    id = client.create_distribution(DistributionConfig=config)["Distribution"]["Id"]
    seed("v1", "v2")
    bench = live_bench(stub.url, mode, distribution=id)
    context = Context(promotion_id="pr_1")
    bench.activate("v1", wait=True, context=context)
    assert context.progress.notes == (), "it was waited for"
    (listed,) = client.list_invalidations(DistributionId=id)["InvalidationList"]["Items"]
    batch = client.get_invalidation(DistributionId=id, Id=listed["Id"])["Invalidation"]
    assert batch["InvalidationBatch"]["CallerReference"] == "imgctl-pr_1"
    assert sorted(batch["InvalidationBatch"]["Paths"]["Items"]) == paths
    client.close()


def test_without_a_wait_it_is_said_what_was_started(
    stub: Any, cloudfront: StubCloudFront, live_bench: Any, seed: Any
) -> None:
    seed("v1")
    context = Context(promotion_id="pr_1")
    live_bench(stub.url, "pointer", distribution=ID).activate("v1", context=context)
    assert cloudfront.batches == [("imgctl-pr_1", ["/current.json"])]
    assert cloudfront.looks == 0
    (note,) = context.progress.notes
    assert f"invalidation I1 of {ID} was started" in note


def test_a_wait_lasts_until_it_has_ended(
    stub: Any, cloudfront: StubCloudFront, live_bench: Any, seed: Any
) -> None:
    seed("v1")
    cloudfront.script["GET"] = [cloudfront.invalidation("InProgress")] * 3
    context = Context()
    live_bench(stub.url, "root", distribution=ID).activate("v1", wait=True, context=context)
    assert cloudfront.looks == 4
    assert context.progress.notes == ()


def test_too_many_at_once_are_waited_for(
    stub: Any, cloudfront: StubCloudFront, live_bench: Any, seed: Any
) -> None:
    seed("v1")
    cloudfront.script["POST"] = [cloudfront.error(400, "TooManyInvalidationsInProgress")] * 3
    live_bench(stub.url, "pointer", distribution=ID).activate("v1")
    assert len(cloudfront.batches) == 4
    assert len({reference for reference, _ in cloudfront.batches}) == 1


@pytest.mark.parametrize("mode", ["root", "pointer"])
def test_what_fails_after_the_switch_is_a_note(
    stub: Any, cloudfront: StubCloudFront, live_bench: Any, seed: Any, mode: str, hasty: Any
) -> None:
    seed("v1")
    busy = cloudfront.error(400, "TooManyInvalidationsInProgress")
    cloudfront.script["POST"] = [busy] * 100
    context = Context()
    bench = live_bench(stub.url, mode, distribution=ID)
    bench.activate("v1", context=context)
    assert len(cloudfront.batches) == hasty.throttled
    (note,) = context.progress.notes
    assert "shop:v1 is live, but CloudFront's caches may be old" in note
    assert "TooManyInvalidationsInProgress" in note
    assert "--wait makes a new invalidation" in note
    assert bench.plan("v1").unchanged


DENIED = "User: arn:aws:iam::1:user/x is not authorized to perform: cloudfront:CreateInvalidation"


@pytest.mark.parametrize("mode", ["root", "pointer"])
def test_what_fails_although_it_is_waited_for_is_an_error(
    stub: Any, cloudfront: StubCloudFront, live_bench: Any, seed: Any, mode: str
) -> None:
    seed("v1")
    cloudfront.script["POST"] = [cloudfront.error(403, "AccessDenied", DENIED)]
    bench = live_bench(stub.url, mode, distribution=ID)
    with pytest.raises(EndpointDenied, match=r"shop:v1 is live, but .* may be old") as caught:
        bench.activate("v1", wait=True)
    assert "cloudfront:CreateInvalidation" in caught.value.message
    assert caught.value.fix.startswith("allow cloudfront:CreateInvalidation")
    assert bench.plan("v1").unchanged, "it is live all the same"
    assert len(cloudfront.batches) == 1


def test_a_distribution_that_is_not_there(
    stub: Any, cloudfront: StubCloudFront, live_bench: Any, seed: Any
) -> None:
    seed("v1")
    cloudfront.script["POST"] = [cloudfront.error(404, "NoSuchDistribution")]
    bench = live_bench(stub.url, "pointer", distribution=ID)
    with pytest.raises(EndpointNotFound, match=rf"distribution {ID} \(environment prod\)"):
        bench.activate("v1", wait=True)


def test_with_a_wait_what_is_live_is_forgotten_once_more(
    stub: Any, cloudfront: StubCloudFront, live_bench: Any, seed: Any
) -> None:
    seed("v1")
    for mode, count in (("root", 6), ("pointer", 1)):
        bench = live_bench(stub.url, mode, distribution=ID)
        bench.activate("v1")
        stub.asked.clear()
        cloudfront.batches.clear()
        plan = bench.activate("v1", wait=True)
        assert not plan.unchanged
        assert {step.action for step in plan.steps} == {"invalidate"}
        assert [asked for asked in stub.writes() if asked.method == "PUT"] == []
        ((_, paths),) = cloudfront.batches
        assert len(paths) == count


def then_cancelled(token: CancelToken, answer: Any) -> Callable[[], Any]:
    def answers() -> Any:
        token.cancel()
        return answer

    return answers


def test_a_cancel_ends_the_wait_and_not_the_activation(
    stub: Any, cloudfront: StubCloudFront, live_bench: Any, seed: Any
) -> None:
    seed("v1")
    token = CancelToken()
    cloudfront.script["GET"] = [
        then_cancelled(token, cloudfront.invalidation("InProgress")),
        *[cloudfront.invalidation("InProgress")] * 50,
    ]
    bench = live_bench(stub.url, "pointer", distribution=ID)
    context = Context(cancel=token)
    bench.promoter.activate(bench.plan("v1", wait=True), context)
    assert cloudfront.looks == 1
    (note,) = context.progress.notes
    assert "shop:v1 is live, but CloudFront's caches may be old" in note
    assert bench.plan("v1").unchanged


@pytest.mark.parametrize("mode", ["root", "pointer"])
def test_a_cancel_during_the_last_step_leaves_nothing_half_done(
    stub: Any, cloudfront: StubCloudFront, live_bench: Any, seed: Any, mode: str
) -> None:
    seed("v1")
    token = CancelToken()
    cloudfront.script["POST"] = [
        then_cancelled(token, cloudfront.error(400, "TooManyInvalidationsInProgress"))
    ]
    bench = live_bench(stub.url, mode, distribution=ID)
    context = Context(cancel=token)
    bench.promoter.activate(bench.plan("v1"), context)
    assert bench.plan("v1").unchanged
    assert "caches may be old: the promotion was cancelled" in context.progress.notes[0]


def test_a_wait_has_an_end(
    stub: Any, cloudfront: StubCloudFront, live_bench: Any, seed: Any
) -> None:
    seed("v1")
    cloudfront.script["GET"] = [cloudfront.invalidation("InProgress")] * 10_000
    bench = live_bench(stub.url, "pointer", distribution=ID, invalidate_wait_seconds=1)
    with pytest.raises(DeadlineExceeded, match=r"shop:v1 is live, but .* has not ended in time"):
        bench.activate("v1", wait=True)


def test_a_wait_without_a_distribution_is_a_note(stub: Any, live_bench: Any, seed: Any) -> None:
    seed("v1")
    context = Context()
    bench = live_bench(stub.url, "pointer")
    bench.activate("v1", wait=True, context=context)
    assert "nothing was waited for" in context.progress.notes[0]
    assert bench.plan("v1", wait=True).unchanged


def test_no_client_of_cloudfront_is_made_before_the_switch(
    stub: Any, live_bench: Any, seed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudFront may be down: that hinders no activation."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFRONT", "http://127.0.0.1:1")
    seed("v1")
    context = Context()
    bench = live_bench(stub.url, "root", distribution=ID)
    bench.activate("v1", context=context)
    assert bench.plan("v1").unchanged
    assert "can't be reached" in context.progress.notes[0]
