"""A promotion outlives the command that started it: watch it, cancel it, leave it."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from imgctl_core.testing.httpd import Fault
from imgctl_core.testing.images import sample_image


@pytest.fixture
def held(stack: Any, registries: Any) -> Iterator[Any]:
    """Start a promotion whose first upload waits for `go_on`, as (process, id, go_on)."""
    dev, _, prod = registries
    dev.put_image("app", "v1", sample_image("held"))
    go_on, reached = threading.Event(), threading.Event()

    def hold(request: Any) -> Fault | None:
        if request.method != "PUT" or "/blobs/uploads/" not in request.path:
            return None
        reached.set()
        return Fault(hold=go_on)

    prod.faults.append(hold)
    stack.start()
    process = stack.popen("promote", "app:v1", "--source", "dev", "-d", "prod")
    assert reached.wait(60)
    (record,) = [
        json.loads(line)
        for line in stack.audit_log.read_text().splitlines()
        if '"promotion.requested"' in line
    ]
    yield process, record["audit_id"], go_on
    go_on.set()
    process.communicate(timeout=60)


def test_cancelling_stops_it_and_leaves_no_tag(stack: Any, registries: Any, held: Any) -> None:
    process, promotion_id, go_on = held
    cancelled = stack.run("cancel", promotion_id)
    assert cancelled.code == 0, cancelled.err
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.match(rf"cancelled app:v1 to prod .*{promotion_id}", out)
    go_on.set()
    assert registries[2].tags("app") == {}
    assert stack.run("watch", promotion_id).code == 1


def test_ctrl_c_leaves_it_running_and_says_how_to_follow(
    stack: Any, registries: Any, held: Any
) -> None:
    process, promotion_id, go_on = held
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert f"imgctl watch {promotion_id}" in err
    go_on.set()
    watched = stack.run("watch", promotion_id)
    assert watched.code == 0, watched.err
    assert watched.out.startswith("promoted app:v1 to prod")
    assert "v1" in registries[2].tags("app")


def test_somebody_who_may_not_promote_there_sees_nothing_of_it(stack: Any, held: Any) -> None:
    _, promotion_id, _ = held
    bob = ("-u", "bob", "-f", stack.client["BOB_KEY"])
    for command in ("watch", "cancel"):
        assert stack.run(command, promotion_id, *bob).code == 5
