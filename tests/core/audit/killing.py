"""Promotes in a process that is killed, over and over, at moments drawn by lot.

killing.py FOLDER SEED KILLS

The child is forked, so that it costs no imports: a real engine, a real log, and a promoter
that writes files. It notes every outcome that it was told of in `told.jsonl`, as a client
would. FOLDER then holds the log's files, `told.jsonl` and `wrote/`, a file for each
promotion that wrote anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from imgctl_core.audit import AuditLog
from imgctl_core.auth.policy import Policy
from imgctl_core.context import Context
from imgctl_core.engine import Engine
from imgctl_core.errors import InvalidReference
from imgctl_core.journal import Journal
from imgctl_core.models import Actor, ArtifactRef, Plan, Promotion, PromotionItem, PromotionRequest
from imgctl_core.notify import Notifications
from imgctl_core.plugins.registry import PluginRegistry
from imgctl_core.promoter import NoSettings, PluginModel, Promoter
from imgctl_core.resolve import Resolver
from imgctl_core.store import MemoryStore

ACTOR = Actor("https://dex.example.com", "alice", "alice", "alice@example.com", ("eng",))
AT_ONCE = 3
MAX_BYTES = 20_000

#: Longest life of a child after its first promotion began, in seconds.
LIFE = 0.03


class Folder(PluginModel):
    """An endpoint: a folder."""

    path: str


class FolderPromoter(Promoter[Folder, NoSettings]):
    """Writes a file that is named for the promotion, in the middle of staging."""

    kind = "image"
    family = "FOLDER"
    family_field = "path"
    Endpoint = Folder
    Settings = NoSettings

    def parse(self, text: str) -> ArtifactRef:
        name, colon, version = text.partition(":")
        if not colon:
            raise InvalidReference("no version")
        return ArtifactRef(self.kind, name, version)

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        return Plan(item, "sha256:aa", None)

    def stage(self, plan: Plan, context: Context) -> None:
        Path(self.endpoints["prod"].path, context.promotion_id).touch()

    def publish(self, plan: Plan, context: Context) -> None:
        """Nothing more to do."""

    def verify(self, plan: Plan, context: Context) -> str:
        return plan.digest


def _serve(folder: Path, ready: int) -> None:
    """Begin as a server does, and promote until killed."""
    log = AuditLog(folder / "audit.jsonl", max_bytes=MAX_BYTES)
    journal = Journal(log)
    journal.started({})
    endpoints = {name: Folder(path=str(folder / path)) for name, path in
                 (("dev", "."), ("prod", "wrote"))}  # fmt: skip
    promoter = FolderPromoter(NoSettings(), endpoints)
    engine = Engine(
        Resolver({"image": promoter}, PluginRegistry({"image": FolderPromoter}, {}, ()),
                 environments=["dev", "prod"], allow_replace=set(), default_source="dev"),
        Policy(allowed_groups=["eng"], environments={}),
        journal,
        Notifications({}),
        MemoryStore(keep=10),
        max_promotions=AT_ONCE,
    )  # fmt: skip
    told = os.open(folder / "told.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def promote(writer: int) -> None:
        number = 0
        while True:
            number += 1
            request = PromotionRequest((f"app{writer}:{number}",), "prod", "dev")
            started = engine.start(request, ACTOR)
            with contextlib.suppress(OSError):
                os.write(ready, b"!")
            *_, ended = engine.watch(started.id, ACTOR, threading.Event())
            assert isinstance(ended, Promotion)
            line = json.dumps({"id": ended.id, "head": ended.audit_head})
            os.write(told, line.encode() + b"\n")

    for writer in range(AT_ONCE):
        threading.Thread(target=promote, args=(writer,), daemon=True).start()
    signal.pause()


def _kill_one(folder: Path, lot: random.Random) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            _serve(folder, writer)
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
        finally:
            os._exit(1)
    os.close(writer)
    if not os.read(reader, 1):
        raise SystemExit("a child ended before it promoted anything")
    time.sleep(lot.uniform(0, LIFE))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reader)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        raise SystemExit("a child ended by itself")


def main() -> None:
    folder, seed, kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    (folder / "wrote").mkdir()
    lot = random.Random(seed)
    for _ in range(kills):
        _kill_one(folder, lot)


if __name__ == "__main__":
    main()
