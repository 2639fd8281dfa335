"""Keys and names that are odd, on a stub and on two real servers, as far as each holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from imgctl_core import ArtifactRef, Context, PromotionItem
from imgctl_core.errors import EndpointFailed, InvalidReference, RequestError

#: Longer names than 255 bytes are more than a server on a file system can take.
PARTS = "/".join(["x" * 200] * 4)
LONGEST = f"{PARTS}/{'é' * ((1024 - len('v1/') - len(PARTS) - 1) // 2)}"
ODD = [
    "a b.js", " a.js", "a .js", "a+b.js", "a%b.js", "a%20b.js", "a%2Fb.js", "a?b.js",
    "a?versionId=1", "a#b.js", "a;b.js", "a&b=c.js", "é.js", "e\u0301.js", "😀.js", "日本.js",
    "a//b.js", "/a.js", "a'b.js", 'a"b.js', "a=b.js", "a@b.js", "a:b.js", "~a.js", "a*b.js",
    "a!b.js", "a(b).js", "a<b>.js", "a\\b.js", "a|b^`{}[].js", "a,b$.js", "...", "..a", "a..",
    "-", "a/...", LONGEST,
]  # fmt: skip
REFUSED = [
    "a/../b",
    "..",
    "./a",
    "a/.",
    "a/..",
    "a\nb",
    "a\rb",
    "a\tb",
    "a\x00b",
    "a\x7fb",
    "a\x85b",
]
#: What a server refuses, or holds under another name.
NOT_HELD = {
    "stub": set[str](),
    "moto": {"a\nb"},
    "versitygw": {"a//b.js", "/a.js", "a/../b", "..", "./a", "a/.", "a/..", "a\x00b"},
}
#: S3 takes it for a key, as it is percent-encoded; versitygw takes it for a version's id.
MISREAD = "a?versionId=1"
each_server = pytest.mark.parametrize("where", NOT_HELD)


@pytest.fixture
def url(where: str, request: pytest.FixtureRequest, make_bench: Any) -> str:
    if where == "versitygw":
        gateway = request.getfixturevalue("versitygw")()
        return str(gateway.endpoint_url)
    return str(
        request.getfixturevalue("stub").url
        if where == "stub"
        else request.getfixturevalue("moto_url")
    )


@pytest.fixture
def client(where: str, url: str, make_client: Callable[..., Any]) -> Any:
    client = make_client(url)
    if where != "stub":
        for bucket in ("shop-dev", "shop-prod"):
            client.create_bucket(Bucket=bucket)
    return client


def put(client: Any, key: str, number: int) -> bool:
    """Put an object that nobody can mistake for another; return whether it is held as such."""
    try:
        client.put_object(
            Bucket="shop-dev",
            Key=key,
            Body=b"%d" % number,
            ContentType=f"x/n{number}",
            CacheControl="no-cache",
            Metadata={"n": str(number)},
        )
    except ClientError:
        return False
    return key in held(client, "dev")


def held(client: Any, end: str) -> dict[str, Any]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=f"shop-{end}")
    return {row["Key"]: row for page in pages for row in page.get("Contents", [])}


@each_server
def test_odd_keys_arrive_under_their_own_names(
    where: str, url: str, client: Any, make_bench: Any
) -> None:
    kept = [n for n, key in enumerate(ODD) if put(client, f"v1/{key}", n)]
    assert {ODD[n] for n in range(len(ODD)) if n not in kept} == NOT_HELD[where] & set(ODD)
    bench = make_bench(url)
    if where == "versitygw":
        # Those that it can't hold are there as others.
        for key in held(client, "dev").keys() - {f"v1/{ODD[n]}" for n in kept}:
            client.delete_object(Bucket="shop-dev", Key=key)
        with pytest.raises(EndpointFailed, match=r"refused s3:PutObject on v1/a\?versionId=1"):
            bench.promote()
        client.delete_object(Bucket="shop-dev", Key=f"v1/{MISREAD}")
        kept.remove(ODD.index(MISREAD))
    bench.promote()
    assert held(client, "prod").keys() == {f"v1/{ODD[n]}" for n in kept}
    for number in kept:
        got = client.get_object(Bucket="shop-prod", Key=f"v1/{ODD[number]}")
        assert got["Body"].read() == b"%d" % number
        assert (got["ContentType"], got["CacheControl"]) == (f"x/n{number}", "no-cache")
        assert got["Metadata"] == {"n": str(number)}
    assert bench.plan().unchanged


@each_server
def test_keys_that_could_lead_elsewhere_are_refused(
    where: str, url: str, client: Any, make_bench: Any
) -> None:
    bench, not_held = make_bench(url), set()
    for number, key in enumerate(REFUSED):
        version = f"r{number}"
        assert put(client, f"{version}/index.html", 0)
        if not put(client, f"{version}/{key}", number):
            not_held.add(key)
            continue
        with pytest.raises(
            EndpointFailed, match=r"which is refused: it has (control|'\.')"
        ) as caught:
            bench.plan(f"shop:{version}")
        assert caught.value.message.isprintable()
        assert caught.value.fix == "rename or remove that object at the source"
    assert not_held == NOT_HELD[where] & set(REFUSED)
    assert held(client, "prod") == {}


ALIASES = ["s3alias", "ap-1234-s3alias", "-ol-s3", "x.mrap", "eun1-az1--x-s3", "-table-s3"]


@pytest.mark.parametrize(
    "suffix",
    ["prod/x", "../prod", "prod/../dev", "a..b", "prod?x=1", "prod#x", "arn:aws:s3:::prod",
     "arn:aws:s3:eu-west-1:123456789012:accesspoint/prod", "prod%2fx", "prod:x", "prod@x",
     *ALIASES],
)  # fmt: skip
def test_a_suffix_that_leads_elsewhere_is_no_setting(make_bench: Any, suffix: str) -> None:
    with pytest.raises(ValueError, match="no bucket name can end in"):
        make_bench("http://127.0.0.1:9", prod={"suffix": suffix})


NAMES = ["../shop", "shop/..", "a/b", "..", "arn:aws:s3:::shop", "shop?x", "shop#", "sh%2f", "@s"]
VERSIONS = ["..", "../v1", "v1/..", "v1/", "/v1", "v1?versionId=x", "v1#", "v1%2f..", ".", "v1\n"]


@pytest.mark.parametrize(
    "ref", [*(f"{name}:v1" for name in NAMES), *(f"shop:{version}" for version in VERSIONS)]
)
def test_a_reference_that_leads_elsewhere_is_none(bench: Any, ref: str) -> None:
    with pytest.raises(InvalidReference):
        bench.promoter.parse(ref)


@pytest.mark.parametrize("name", [*NAMES, "xn--shop", "s" * 60])
def test_no_call_is_made_for_a_bucket_that_leads_elsewhere(
    stub: Any, bench: Any, name: str
) -> None:
    ref = ArtifactRef("spa", name, "v1")  # as if `parse` had let it through
    with pytest.raises(RequestError):
        bench.promoter.plan(PromotionItem(f"spa:{name}:v1", ref, "dev", "prod"), Context())
    assert stub.asked == []
