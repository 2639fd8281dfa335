"""Plugins from outside: installed, used, broken, gone; and the Slack notifier."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.audit import read
from imgctl_core.testing.images import sample_image

NOTES = '''
"""Promotes notes: files of one folder to another."""

import hashlib
import os
from pathlib import Path

from imgctl_core import ArtifactRef, NoSettings, Plan, PluginModel, Promoter, hookimpl
from imgctl_core.errors import ArtifactNotFound, Conflict, InvalidReference


class Folder(PluginModel):
    path: Path


class NotePromoter(Promoter[Folder, NoSettings]):
    kind, family, family_field = "note", "NOTE", "path"
    Endpoint, Settings = Folder, NoSettings

    def parse(self, text):
        name, _, version = text.partition(":")
        if not (name.isalnum() and version.isalnum()):
            raise InvalidReference(f"{text!r} is no note; write note::name:version")
        return ArtifactRef(self.kind, name, version)

    def plan(self, item, context):
        source, current = self._digest(item, item.source), self._digest(item, item.destination)
        if source is None:
            raise ArtifactNotFound(f"{item.source} has no note {item.ref}")
        if current not in (None, source) and not item.replace:
            raise Conflict(f"{item.destination} holds {current}, {item.source} holds {source}")
        words = self._file(item, item.source).read_text().split()
        return Plan(item, source, current, data={"words": words})

    def stage(self, plan, context):
        part = self._file(plan.item, plan.item.destination).with_suffix(".part")
        part.write_bytes(self._file(plan.item, plan.item.source).read_bytes())

    def publish(self, plan, context):
        file = self._file(plan.item, plan.item.destination)
        os.replace(file.with_suffix(".part"), file)

    def verify(self, plan, context):
        return self._digest(plan.item, plan.item.destination)

    def manifest(self, plan, context):
        for word in plan.data["words"]:
            yield {"word": word, "length": len(word)}

    def _file(self, item, environment):
        return self.endpoints[environment].path / f"{item.ref.name}-{item.ref.version}.txt"

    def _digest(self, item, environment):
        file = self._file(item, environment)
        return "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None


@hookimpl
def imgctl_promoters():
    return [NotePromoter]
'''

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.2.3"

[project.entry-points."imgctl.plugins"]
{entry} = "{module}"

[tool.hatch.build.targets.wheel]
only-include = ["{module}.py"]
"""


def _install(folder: Path, site: Path, name: str, entry: str, source: str) -> None:
    """Build a distribution and install it, as pip would beside imgctl."""
    module = name.replace("-", "_")
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT.format(name=name, entry=entry, module=module))
    (folder / f"{module}.py").write_text(source)
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
            "--no-build-isolation", "--disable-pip-version-check", "--target", str(site),
            str(folder),
        ],
        check=True,
        capture_output=True,
        timeout=100,
    )  # fmt: skip


def _notes(tmp_path: Path, text: str) -> tuple[dict[str, Path], dict[str, str]]:
    """Put a note into dev; return where notes are, and the settings that say so."""
    places = {name: tmp_path / name for name in ("dev", "prod")}
    for place in places.values():
        place.mkdir()
    (places["dev"] / "hello-v1.txt").write_text(text)
    settings = {f"IMGCTL_NOTE_{name.upper()}": str(path) for name, path in places.items()}
    settings["IMGCTL_REGISTRY_DEV"] = "registry.example.com"
    return places, settings


def test_a_manifest_is_what_the_audit_log_says_it_is(stack: Any, tmp_path: Path) -> None:
    site = tmp_path / "site"
    _install(tmp_path / "note", site, "imgctl-note", "note", NOTES)
    words = [f"wörd{number}" for number in range(30_000)]
    _, settings = _notes(tmp_path, " ".join(words))
    stack.start(**settings, PYTHONPATH=str(site))
    plan = tmp_path / "plan.json"
    done = stack.promote("note:hello:v1", "--plan", "--plan-out", str(plan))
    assert done.code == 0, done.err
    saved = json.loads(plan.read_text("ascii"))
    (planned,) = saved["manifests"]
    assert (saved["outcome"], planned["ref"]) == ("promoted", "note:hello:v1")
    assert [row["word"] for row in planned["rows"]] == words
    promotion = stack.promote("note:hello:v1", "-o", "json").json
    shown = stack.run("manifest", promotion["id"]).json
    assert shown["items"] == [planned]
    lines = stack.run("manifest", promotion["id"], "-r", "note:hello:v1", "-o", "jsonl").out
    rows = [json.loads(line)["row"] for line in lines.splitlines()]
    # As docs/reference/audit.md has it, written out here a second time.
    hashed = hashlib.sha256()
    for row in rows:
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        hashed.update(f"{text}\n".encode("ascii"))
    records: list[Any] = [r for r in read(stack.audit_log) if r["event"] == "promotion.promoted"]
    assert records[0]["items"][0]["manifest_digest"] == f"sha256:{hashed.hexdigest()}"
    assert promotion["items"][0]["manifest_rows"] == len(rows) == 30_000
    again = stack.promote("note:hello:v1", "-o", "json").json
    assert again["items"][0]["manifest_digest"] == promotion["items"][0]["manifest_digest"]
    bob = {"IMGCTL_PUBKEY_FILE": stack.client["BOB_KEY"], "KUBECTL_SSH_USER": "bob"}
    assert stack.run("manifest", promotion["id"], env=bob).code == 5
    assert stack.run("manifest", "pr_unknown").code == 9


def test_a_promoter_of_its_own_distribution_comes_works_and_goes(
    stack: Any, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    _install(tmp_path / "note", site, "imgctl-note", "note", NOTES)
    places, settings = _notes(tmp_path, "hello")
    stack.start(**settings, PYTHONPATH=str(site))
    listed = stack.run("plugins", "-o", "json").json
    assert "imgctl-note" in json.dumps(listed)
    assert "1.2.3" in stack.run("plugins").out
    done = stack.promote("note:hello:v1")
    assert done.code == 0, done.err
    assert (places["prod"] / "hello-v1.txt").read_text() == "hello"
    assert stack.promote("note:hello:v1").out.startswith("unchanged note:hello:v1 to prod")
    assert stack.promote("note:gone:v1").code == 9
    (places["dev"] / "hello-v1.txt").write_text("another")
    assert stack.promote("note:hello:v1").code == 8
    assert (places["prod"] / "hello-v1.txt").read_text() == "hello"
    stack.stop()
    stack.start(**settings)
    assert "imgctl-note" not in stack.run("plugins").out
    gone = stack.promote("note:hello:v1")
    assert (gone.code, "'note'" in gone.err) == (2, True)


def test_a_plugin_that_raises_on_import_is_quarantined_and_images_still_work(
    stack: Any, registries: Any, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    _install(tmp_path / "broken", site, "imgctl-broken", "broken", "raise RuntimeError('boom')")
    registries[0].put_image("app", "v1", sample_image("quarantine"))
    stack.start(PYTHONPATH=str(site))
    assert "quarantined" in stack.log
    listed = stack.run("plugins").out
    assert "quarantined" in listed
    assert "at import: RuntimeError; the server's log says more" in listed
    assert "boom" in stack.log
    assert "boom" not in listed
    refused = stack.promote("broken:some:thing")
    assert refused.code == 1
    assert "imgctl-broken 1.2.3" in refused.err
    assert stack.promote("app:v1").code == 0


class Sink:
    """A webhook endpoint that keeps what it gets; one that hangs answers only at the end."""

    def __init__(self, *, hang: bool) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.arrived = threading.Event()
        self.over = threading.Event()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                sink.bodies.append(json.loads(self.rfile.read(length)))
                sink.arrived.set()
                if hang:
                    sink.over.wait(60)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/services/T0/B0/secret-part"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def sinks() -> Iterator[Any]:
    made: list[Sink] = []

    def make(*, hang: bool = False) -> Sink:
        made.append(Sink(hang=hang))
        return made[-1]

    yield make
    for sink in made:
        sink.over.set()
        sink.server.shutdown()
        sink.server.server_close()


def test_slack_gets_one_message_with_the_seven_facts(
    stack: Any, registries: Any, sinks: Any
) -> None:
    image = registries[0].put_image("app", "v1", sample_image("slack"))
    sink = sinks()
    stack.start(IMGCTL_SLACK_WEBHOOK_URL=sink.url)
    assert stack.promote("app:v1").code == 0
    assert sink.arrived.wait(10)
    stack.stop()
    (body,) = sink.bodies
    text = json.dumps(body)
    for fact in ("promoted", "app:v1", "dev", "prod", "alice@example.com", image.digest):
        assert fact in text
    assert re.search(r" in \d+\.\d s", text)
    assert "secret-part" not in stack.log + stack.audit_log.read_text()


def test_slack_that_hangs_changes_nothing(stack: Any, registries: Any, sinks: Any) -> None:
    registries[0].put_image("app", "v1", sample_image("hang"))
    sink = sinks(hang=True)
    stack.start(IMGCTL_SLACK_WEBHOOK_URL=sink.url)
    begun = time.monotonic()
    assert stack.promote("app:v1").code == 0
    assert stack.promote("app:v1").code == 0
    # Not a figure: only that nobody waited for the sink's 60 s.
    assert time.monotonic() - begun < 50
    assert sink.arrived.wait(10)
    assert not sink.over.is_set()


def test_without_a_url_there_is_no_post(stack: Any, registries: Any, sinks: Any) -> None:
    registries[0].put_image("app", "v1", sample_image("quiet"))
    sink = sinks()
    stack.start()
    assert stack.promote("app:v1").code == 0
    stack.stop()
    assert sink.bodies == []
