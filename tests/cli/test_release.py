"""Several at once: release files, and what goes with a request of many items."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

GOOD = """
source: int
destination: prod
items:
  - ref: myapp:v1
  - ref: "spa:shop:1.4.2"
"""


@pytest.fixture
def release(tmp_path: Path) -> Any:
    def write(text: str) -> str:
        path = tmp_path / "release.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_a_release_file_is_one_request(run: Any, server: Any, dex: Any, release: Any) -> None:
    server.stream = [server.promotion]
    assert run("promote", "--file", release(GOOD)).code == 0
    (request,) = server.requests
    assert request.refs == ("myapp:v1", "spa:shop:1.4.2")
    assert (request.source, request.destination) == ("int", "prod")


def test_a_flag_wins_over_the_file_and_the_file_over_the_environment(
    run: Any, server: Any, dex: Any, release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGCTL_DEFAULT_DESTINATION", "elsewhere")
    server.stream = [server.promotion]
    run("promote", "--file", release(GOOD), "--source", "dev")
    (request,) = server.requests
    assert (request.source, request.destination) == ("dev", "prod")


def test_an_end_that_the_file_does_not_name_comes_from_elsewhere(
    run: Any, server: Any, dex: Any, release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGCTL_DEFAULT_DESTINATION", "elsewhere")
    server.stream = [server.promotion]
    run("promote", "--file", release("items: [{ref: 'a:1'}]"))
    assert server.requests[0].destination == "elsewhere"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("items: [{ref: a:1, tag: x}]", "'tag'"),
        ("itms: [{ref: a:1}]\n", "'items'"),
        ("destination: prod", "no items"),
        ("items: []", "no items"),
        ("items: [a:1]", "item 1"),
        ("items: [{ref: 1.10}]", "item 1: ref"),
        ("items: [{}]", "item 1: ref"),
        ("destination: 5\nitems: [{ref: 'a:1'}]", "destination"),
        ("- a", "mapping"),
        ("a: [", "YAML"),
        ("items: !!python/object/apply:os.system ['true']", "YAML"),
        ("items: [{ref: myapp}]\ndestination: prod", "myapp"),
    ],
)
def test_a_wrong_file_is_told_before_any_network(
    run: Any, server: Any, dex: Any, release: Any, text: str, hint: str
) -> None:
    ran = run("promote", "--file", release(text), "-o", "json")
    error = json.loads(ran.err)["error"]
    assert ran.code == 2
    assert hint in error["message"] + error["fix"]
    assert not server.requests


def test_a_file_that_is_not_there(run: Any, server: Any, dex: Any) -> None:
    ran = run("promote", "--file", "/nowhere.yaml")
    assert ran.code == 2
    assert "can't be read" in ran.err


def test_refs_and_a_file_do_not_go_together(run: Any, server: Any, dex: Any, release: Any) -> None:
    assert run("promote", "a:1", "--file", release(GOOD)).code == 2


def test_what_else_goes_with_a_request(run: Any, server: Any, dex: Any) -> None:
    server.stream = [server.promotion]
    flags = ["--fail-fast", "--deep", "--referrers", "none", "--strict"]
    run("promote", "a:1", "spa:b:1", "-d", "prod", *flags)
    (request,) = server.requests
    assert (request.refs, request.fail_fast, request.deep) == (("a:1", "spa:b:1"), True, True)
    assert request.options == {"referrers": "none", "lint": "strict"}


def test_what_nobody_asks_for_is_left_to_the_server(run: Any, server: Any, dex: Any) -> None:
    server.stream = [server.promotion]
    run("promote", "spa:b:1", "-d", "prod")
    assert server.requests[0].options == {}


def test_notes_are_shown_beside_the_result(run: Any, server: Any, dex: Any) -> None:
    item = replace(server.promotion.items[0], notes=("a signature was\x1b refused",))
    server.stream = [replace(server.promotion, items=(item,))]
    ran = run("promote", "a:1", "-d", "prod")
    assert "note: myapp:v1: a signature was\ufffd refused\n" in ran.err
    assert "note" not in ran.out
    server.stream = [replace(server.promotion, items=(item,))]
    shown = json.loads(run("promote", "a:1", "-d", "prod", "-o", "json").out)
    assert shown["items"][0]["notes"] == ["a signature was\x1b refused"]
