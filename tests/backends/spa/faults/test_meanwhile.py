"""What others do to both ends while a promotion is under way, and what servers can't do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.errors import Conflict, EndpointDenied, EndpointFailed
from imgctl_core.testing.httpd import Fault, Request, Response
from imgctl_core.testing.sites import SiteFile

PROBE, MIDDLE = "assets/part-00000000.js", "assets/part-00000002.js"
LARGE = "assets/app-5e6f7a8b.wasm"
#: What is written, and by which call: `v2` has a file that goes in parts.
WRITES = {
    "probe": ("v1", PROBE, "PUT", rf"/{PROBE}"),
    "asset": ("v1", MIDDLE, "PUT", rf"/{MIDDLE}"),
    "entry point": ("v1", "index.html", "PUT", r"v1/index\.html"),
    "large file": ("v2", LARGE, "POST", rf"/{LARGE}\?uploadId="),
}
both = pytest.mark.parametrize("where", ["versitygw", "moto"])
each_write = pytest.mark.parametrize("write", WRITES)


@pytest.fixture
def line(line: Any) -> Any:
    """Return a line whose guards look at every copy."""
    line.guards.busy = True
    return line


def once(method: str, part: str, action: Callable[[], object]) -> Callable[[Request], None]:
    """Return a hook that acts before the first request of a kind goes on."""
    done: list[str] = []

    def hook(request: Request) -> None:
        if request.method == method and part in request.target and not done:
            done.append(request.target)
            action()

    return hook


@both
@pytest.mark.parametrize("write", ["probe", "asset", "entry point", "part"])
def test_a_source_that_changes_is_told_and_what_it_is_then_is_promoted(
    line: Any, write: str
) -> None:
    version, key = ("v2", LARGE) if write == "part" else WRITES[write][:2]
    site = line.sites[version]
    # As long as before: only the guard can tell.
    changed = SiteFile(b"!" + site.files[key].body[1:], "text/plain", "no-store")
    mark = "partNumber=1" if write == "part" else f"/shop-prod/{version}/{key}"
    change = once("PUT", mark, lambda: line.put("shop-dev", f"{version}/{key}", changed))
    line.proxy.faults.insert(0, change)
    promoter = line.promoter()
    try:
        told = line.refuses(version, promoter)
        assert isinstance(told, EndpointFailed)
        assert f"the source changed during the promotion: '{key}'" in told.message
        assert key not in line.held(version)
        line.check(version)
        line.promote(version, promoter)
        line.check(version, whole=True, changed={key: changed})
    finally:
        line.put("shop-dev", f"{version}/{key}", site.files[key])


@both
@each_write
@pytest.mark.parametrize("same", [True, False])
def test_somebody_elses_file_that_was_faster(line: Any, write: str, same: bool) -> None:
    version, key, method, part = WRITES[write]
    part = part.replace("\\", "")
    ours = line.sites[version].files[key]
    theirs = ours if same else SiteFile(b"<p>theirs", "text/html", "no-cache")
    overtake = once(method, part, lambda: line.put("shop-prod", f"{version}/{key}", theirs))
    line.proxy.faults.insert(0, overtake)
    promoter = line.promoter()
    if not same:
        told = line.refuses(version, promoter)
        assert isinstance(told, Conflict), told
        assert f"'{key}'" in told.message
        held = line.held(version)
        assert held.pop(key) == theirs
        assert line.sites[version].flaws({k: file.body for k, file in held.items()}) == []
        line.client.delete_object(Bucket="shop-prod", Key=f"{version}/{key}")
        line.mend()
    line.promote(version, promoter)
    line.check(version, whole=True)
    assert line.uploads() == []


def fill_with_old(line: Any, version: str, *keys: str) -> None:
    for key in keys:
        line.put("shop-prod", f"{version}/{key}", SiteFile(b"old", "text/plain", "no-store"))


@both
@each_write
def test_a_replaced_file_whose_answer_was_lost_is_no_conflict(line: Any, write: str) -> None:
    version, key, method, pattern = WRITES[write]
    fill_with_old(line, version, key, "assets/part-00000001.css", "about.html")
    struck = line.inject(Fault(lose=True), (method,), pattern, times=3)
    line.promote(version, line.promoter(), replace=True)
    assert struck.hits == 3
    line.check(version, whole=True)


@both
@each_write
@pytest.mark.parametrize("how", ["another", "removed"])
def test_a_replaced_file_that_somebody_else_touched(line: Any, write: str, how: str) -> None:
    version, key, method, part = WRITES[write]
    part = part.replace("\\", "")
    fill_with_old(line, version, key)
    theirs = SiteFile(b"theirs", "text/plain", "no-store")

    def touch() -> None:
        if how == "another":
            line.put("shop-prod", f"{version}/{key}", theirs)
        else:
            line.client.delete_object(Bucket="shop-prod", Key=f"{version}/{key}")

    line.proxy.faults.insert(0, once(method, part, touch))
    promoter = line.promoter()
    told = line.refuses(version, promoter, replace=True)
    assert isinstance(told, Conflict), told
    assert f"somebody else wrote '{key}'" in told.message
    line.promote(version, promoter, replace=True)
    line.check(version, whole=True)


@both
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("replace", [False, True])
def test_a_server_that_knows_no_conditional_writes(
    line: Any, fail: Callable[..., Response], version: str, replace: bool
) -> None:
    refused: list[str] = []

    def unsupported(request: Request) -> Fault | None:
        conditional = {"if-match", "if-none-match"} & set(request.headers)
        if request.method not in ("PUT", "POST") or not conditional:
            return None
        refused.append(request.target)
        return Fault(answer=fail(501, "NotImplemented"))

    if replace:
        fill_with_old(line, version, MIDDLE, "index.html")
    line.proxy.faults.insert(0, unsupported)
    line.promote(version, line.promoter(), replace=replace)
    assert refused
    line.check(version, whole=True)


# versitygw knows no tokens.
def keys_with(token: str) -> str:
    return (
        "[promoter]\naws_access_key_id = imgctltestaccess\n"
        f"aws_secret_access_key = imgctltestsecret\naws_session_token = {token}\n"
    )


@pytest.mark.parametrize("where", ["moto"])
@pytest.mark.parametrize("renewed", [True, False])
@pytest.mark.parametrize(
    ("version", "method", "part"),
    [("v1", "GET", "max-keys"), ("v1", "GET", "/shop-dev/?"), ("v1", "PUT", MIDDLE),
     ("v1", "HEAD", "index.html"), ("v1", "PUT", "v1/index.html"), ("v2", "GET", "tagging"),
     ("v2", "PUT", "partNumber=2"), ("v2", "POST", "uploadId")],
)  # fmt: skip
def test_keys_that_end_in_the_middle_are_renewed_where_there_are_others(
    line: Any,
    fail: Callable[..., Response],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    version: str,
    method: str,
    part: str,
    renewed: bool,
) -> None:
    file = tmp_path / "credentials"
    file.write_text(keys_with("first"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    ended: list[str] = []

    def end(request: Request) -> Fault | None:
        if request.method == method and part in request.target and not ended:
            ended.append(request.target)
            if renewed:
                file.write_text(keys_with("second"))
        if ended and request.headers.get("x-amz-security-token") == "first":
            return Fault(answer=fail(400, "ExpiredToken", "the token has expired"))
        return None

    line.proxy.faults.insert(0, end)
    ends = {"profile": "promoter"}
    promoter = line.promoter(fresh=True, dev=ends, prod=ends)
    if not renewed:
        told = line.refuses(version, promoter)
        assert isinstance(told, EndpointDenied)
        assert "the token has expired" in told.message
        line.check(version)
        file.write_text(keys_with("second"))
    line.promote(version, promoter)
    assert ended
    line.check(version, whole=True)
