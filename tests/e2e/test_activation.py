"""Going live from outside: a plugin that can, the real server, the real command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.audit import read, verify

PAGES = '''
"""Pages in the memory of the server: versions 1 and 2 of `shop` are in prod."""

from imgctl_core import hookimpl
from imgctl_core.testing import FakeWorld

world = FakeWorld()
for version in ("1", "2"):
    world.put("prod", "shop", version, f"page {version}".encode())


@hookimpl
def imgctl_promoters():
    return [world.activator_class("page", "PAGE")]
'''


@pytest.fixture
def pages(stack: Any, tmp_path: Path) -> Any:
    """Return the stack with a server that has the plugin `page`."""
    site = tmp_path / "site"
    info = site / "imgctl_page-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "imgctl_page.py").write_text(PAGES)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: imgctl-page\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[imgctl.plugins]\npage = imgctl_page\n")
    stack.start(
        PYTHONPATH=str(site), IMGCTL_PAGE_PROD="prod", IMGCTL_REGISTRY_PROD="registry.example.com"
    )
    return stack


def test_going_live_and_back(pages: Any) -> None:
    def activate(*arguments: str) -> Any:
        return pages.run("activate", *arguments, "-d", "prod")

    planned = activate("page:shop:1", "--plan")
    assert planned.code == 0, planned.err
    assert planned.out.startswith("would activate page:shop:1 in prod  sha256:")
    assert "  live now: nothing\n  switch shop to 1\n" in planned.out
    first = activate("page:shop:1")
    assert first.code == 0, first.err
    assert first.out.startswith("activated page:shop:1 in prod  sha256:")
    assert activate("page:shop:1").out.startswith("unchanged page:shop:1 in prod  ")
    assert activate("page:shop", "--previous").code == 9
    assert activate("page:shop:2", "--wait").code == 0
    back = activate("page:shop", "--previous", "-o", "json")
    assert (back.code, back.json["action"], back.json["outcome"]) == (0, "activate", "activated")
    assert back.json["items"][0]["ref"] == "page:shop:1"
    watched = pages.run("watch", back.json["id"])
    assert watched.out.startswith("activated page:shop:1 in prod  ")

    live: list[Any] = [
        record for record in read(pages.audit_log) if record["event"] == "promotion.activated"
    ]
    assert [record["items"][0]["ref"] for record in live] == [
        "page:shop:1",
        "page:shop:2",
        "page:shop:1",
    ]
    assert [record["action"] for record in live] == ["activate"] * 3
    pairs = [(r["items"][0]["previous_digest"], r["items"][0]["digest"]) for r in live]
    assert pairs[1] == tuple(reversed(pairs[2]))
    assert pairs[0] == ("", pairs[1][0])
    assert verify(pages.audit_log).problems == ()


def test_what_makes_no_sense_is_told(pages: Any) -> None:
    for arguments, reason in (
        (["page:shop"], "REQUEST_INVALID"),
        (["page:shop:1", "--previous"], "REQUEST_INVALID"),
        (["app:v1"], "KIND_NOT_ACTIVATABLE"),
        (["page:SHOP:1"], "REFERENCE_INVALID"),
    ):
        done = pages.run("activate", *arguments, "-d", "prod", "-o", "json")
        error = json.loads(done.err)["error"]
        assert (done.code, error["reason"]) == (2, reason)
        assert error["fix"]
