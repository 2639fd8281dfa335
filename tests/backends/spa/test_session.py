"""boto3's own settings hold for every call, the fast lane's included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from botocore.credentials import RefreshableCredentials

from imgctl_backends.spa.wire.fastlane import Address, Lane, Request
from imgctl_backends.spa.wire.renewing import Renewable
from imgctl_core.errors import EndpointDenied, InvalidSetting


@pytest.fixture(autouse=True)
def build(stub: Any) -> None:
    stub.put("shop-dev", "v1/a.js", b"a")
    stub.put("shop-dev", "v1/index.html", b"<b>")


def scopes(stub: Any) -> set[tuple[str, str]]:
    """Return the access keys and regions that requests were signed with."""
    signed = (asked.headers["authorization"] for asked in stub.asked)
    parts = [text.partition("Credential=")[2].partition(",")[0].split("/") for text in signed]
    return {(part[0], part[2]) for part in parts}


def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_DEFAULT_REGION")


PROFILE = """
[profile promoter]
aws_access_key_id = fromprofile
aws_secret_access_key = secret
region = eu-central-1
services = local
[services local]
s3 =
  endpoint_url = {url}
"""


@pytest.mark.parametrize("how", ["variable", "endpoint"])
def test_a_profile_gives_keys_region_and_endpoint(
    stub: Any, make_bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    profile = {"profile": "promoter"} if how == "endpoint" else {}
    bench = make_bench(dev=profile, prod=profile)
    configure(monkeypatch, tmp_path, PROFILE.format(url=stub.url))
    if how == "variable":
        monkeypatch.setenv("AWS_PROFILE", "promoter")
    bench.promote()
    assert "v1/index.html" in stub.buckets["shop-prod"]
    assert scopes(stub) == {("fromprofile", "eu-central-1")}


def test_an_endpoints_region_wins(stub: Any, make_bench: Any) -> None:
    region = {"region": "ap-south-1"}
    make_bench(stub.url, dev=region, prod=region).promote()
    assert scopes(stub) == {("imgctltestaccess", "ap-south-1")}
    assert len(stub.copied()) == 2


@pytest.fixture
def two_profiles(
    stub: Any, make_bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    lines = [
        f"[profile {name}]\naws_access_key_id = key{name}\naws_secret_access_key = s\n"
        for name in ("one", "two")
    ]
    configure(monkeypatch, tmp_path, "".join(lines))
    return make_bench(stub.url, dev={"profile": "one"}, prod={"profile": "two"})


def test_a_profile_that_can_do_both_copies(stub: Any, two_profiles: Any) -> None:
    two_profiles.promote()
    assert stub.copied() == ["v1/a.js", "v1/index.html"]
    for asked in stub.writes():
        assert "Credential=keytwo/" in asked.headers["authorization"]


def test_two_profiles_are_bridged_by_streaming(stub: Any, two_profiles: Any, fail: Any) -> None:
    stub.faults.append(lambda asked: fail(403, "AccessDenied") if asked.copies else None)
    two_profiles.promote()
    assert stub.copied() == ["v1/a.js"]  # asked once, denied, and not asked again
    assert {k: v.body for k, v in stub.buckets["shop-prod"].items()} == {
        "v1/a.js": b"a",
        "v1/index.html": b"<b>",
    }
    for asked in stub.asked:
        end = "one" if asked.bucket == "shop-dev" else "two"
        assert f"Credential=key{end}/" in asked.headers["authorization"]
    for asked in stub.writes():
        assert asked.headers["if-none-match"] == "*"


def test_an_unknown_profile_is_a_wrong_setting(make_bench: Any) -> None:
    with pytest.raises(InvalidSetting, match="nobody"):
        make_bench("http://127.0.0.1:1", dev={"profile": "nobody"}).plan()


def test_no_credentials_at_all(
    stub: Any, make_bench: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench = make_bench(stub.url)
    configure(monkeypatch, tmp_path, "")
    with pytest.raises(EndpointDenied, match="no usable AWS credentials"):
        bench.plan()


ROLE = "arn:aws:iam::123456789012:role/imgctl"


def test_a_role_is_assumed_for_every_call(
    stub: Any, make_bench: Any, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto_url)
    role = {"role_arn": ROLE, "external_id": "ours"}
    make_bench(stub.url, dev=role, prod=role).promote()
    assert len(stub.copied()) == 2
    ((key, _),) = scopes(stub)
    assert key.startswith("ASIA")
    assert all("x-amz-security-token" in asked.headers for asked in stub.asked)


def test_a_role_that_may_not_be_assumed(
    stub: Any, make_bench: Any, monkeypatch: pytest.MonkeyPatch, fail: Any
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", stub.url)
    said = "not authorized to perform: sts:AssumeRole"
    stub.faults.append(lambda a: fail(403, "AccessDenied", said) if a.method == "POST" else None)
    with pytest.raises(EndpointDenied, match=r"role for the source .* can't be assumed"):
        make_bench(stub.url, dev={"role_arn": ROLE}).plan()


def test_credentials_that_run_out_are_renewed(stub: Any, bench: Any) -> None:
    """The lane asks for credentials outside the client's own thread, and uses new ones."""
    made = 0

    def fetch() -> dict[str, str]:
        nonlocal made
        made += 1
        left = timedelta(minutes=5 if made < 2 else 60)
        key = {"access_key": f"key{made}", "secret_key": "s", "token": "t"}
        return {**key, "expiry_time": (datetime.now(UTC) + left).isoformat()}

    credentials = RefreshableCredentials.create_from_metadata(fetch(), fetch, "test")
    lane = Lane(
        Address("http", stub.url.removeprefix("http://"), "us-east-1"),
        Renewable(lambda: credentials),
        "",
    )
    lane.freshen()
    answers: Queue[Any] = Queue()
    lane.send(Request("HeadObject", "HEAD", "/shop-dev/v1/a.js"), answers.put)
    assert answers.get(timeout=10).status == 200
    assert "Credential=key2/" in stub.asked[-1].headers["authorization"]
