from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from imgctl_core.errors import NotActivatable, NotAuthorized
from imgctl_core.models import (
    Action,
    Failure,
    ItemResult,
    Outcome,
    PlannedItem,
    PlanReport,
    Promotion,
    Step,
)

DIGEST = "sha256:" + "9f" * 32
OLD = "sha256:" + "77" * 32


@pytest.fixture
def went_live(server: Any, promotion: Any) -> Any:
    """Return what makes the server's promotion an activation with this outcome."""

    def make(outcome: Outcome, failure: Failure | None = None, **more: Any) -> None:
        item = ItemResult("spa:shop:1.4.2", "spa", outcome, DIGEST, error=failure, **more)
        ended: Promotion = promotion(item, outcome=outcome, action=Action.ACTIVATE)
        server.promotion = replace(ended, source="prod")

    make(Outcome.ACTIVATED)
    return make


class TestResult:
    def test_one_line_says_what_is_live_where(
        self, run: Any, server: Any, dex: Any, went_live: Any
    ) -> None:
        ran = run("activate", "spa:shop:1.4.2", "-d", "prod")
        assert (ran.code, ran.out) == (0, f"activated spa:shop:1.4.2 in prod  {DIGEST}  pr_01K3\n")
        assert ("watch", "pr_01K3") in server.asked
        went_live(Outcome.UNCHANGED)
        ran = run("activate", "spa:shop:1.4.2", "-d", "prod")
        assert (ran.code, ran.out) == (0, f"unchanged spa:shop:1.4.2 in prod  {DIGEST}  pr_01K3\n")

    def test_json_is_a_promotions_and_names_the_action(
        self, run: Any, server: Any, dex: Any, went_live: Any
    ) -> None:
        ran = run("activate", "spa:shop", "-d", "prod", "--previous", "-o", "json")
        assert (ran.code, ran.err) == (0, "")
        document = json.loads(ran.out)
        assert document.pop("items")[0]["ref"] == "spa:shop:1.4.2"
        assert document == {
            "schema_version": 1,
            "id": "pr_01K3",
            "outcome": "activated",
            "source": "prod",
            "destination": "prod",
            "audit_head": "",
            "audit_degraded": False,
            "action": "activate",
        }

    def test_watching_one_shows_the_same(
        self, run: Any, server: Any, dex: Any, went_live: Any
    ) -> None:
        assert run("watch", "pr_01K3").out.startswith("activated spa:shop:1.4.2 in prod  ")
        assert json.loads(run("watch", "pr_01K3", "-o", "json").out)["action"] == "activate"

    @pytest.mark.parametrize(
        ("outcome", "reason", "code"),
        [
            (Outcome.CONFLICT, "CONFLICT", 8),
            (Outcome.FAILED, "ARTIFACT_NOT_FOUND", 9),
            (Outcome.FAILED, "VERIFICATION_FAILED", 1),
            (Outcome.CANCELLED, "CANCELLED", 1),
        ],
    )
    def test_what_came_to_no_good_exits_as_a_promotion_does(
        self,
        run: Any,
        server: Any,
        dex: Any,
        went_live: Any,
        outcome: Outcome,
        reason: str,
        code: int,
    ) -> None:
        went_live(outcome, Failure(reason, "prod has another one live", "look first"))
        ran = run("activate", "spa:shop:1.4.2", "-d", "prod")
        assert ran.code == code
        assert ran.out.startswith(f"{outcome.value} spa:shop:1.4.2 in prod  ")
        assert ran.err.endswith(
            f"error: prod has another one live\nfix: look first\nid: pr_01K3 code: {reason}\n"
        )

    def test_notes_are_shown(self, run: Any, server: Any, dex: Any, went_live: Any) -> None:
        went_live(Outcome.ACTIVATED, notes=("caches may be behind",))
        ran = run("activate", "spa:shop:1.4.2", "-d", "prod")
        assert "note: spa:shop:1.4.2: caches may be behind\n" in ran.err


class TestRequest:
    def test_what_is_asked_for(self, run: Any, server: Any, dex: Any, went_live: Any) -> None:
        run("activate", "spa:shop:1.4.2", "-d", "prod")
        run("activate", "-r", "spa:shop", "--destination", "int", "--previous", "--wait")
        first, second = server.activations
        assert (first.ref, first.environment) == ("spa:shop:1.4.2", "prod")
        assert (first.previous, first.wait) == (False, False)
        assert (second.ref, second.environment) == ("spa:shop", "int")
        assert (second.previous, second.wait) == (True, True)
        assert first.request_id != second.request_id
        assert not server.requests

    def test_the_environment_has_a_default(
        self, run: Any, server: Any, dex: Any, went_live: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IMGCTL_DEFAULT_DESTINATION", "int")
        run("activate", "spa:shop:1.4.2")
        assert server.activations[0].environment == "int"

    def test_a_repeated_call_is_the_same_request(
        self, run: Any, server: Any, dex: Any, went_live: Any
    ) -> None:
        server.refused = {"first-token"}
        assert run("activate", "spa:shop:1.4.2", "-d", "prod").code == 0
        first, second = server.activations
        assert first == second
        assert first.request_id

    @pytest.mark.parametrize(
        ("args", "reason", "hint"),
        [
            (["-d", "prod"], "SETTING_INVALID", "spa:shop:1.4.2"),
            (["spa:a:1", "-r", "spa:a:1", "-d", "prod"], "SETTING_INVALID", "or by --ref"),
            (["spa:a:1", "spa:b:1", "-d", "prod"], "SETTING_INVALID", "spa:b:1"),
            (["spa:a:1"], "ENVIRONMENT_MISSING", "IMGCTL_DEFAULT_DESTINATION"),
            (["", "-d", "prod"], "REFERENCE_INVALID", "the ref is empty"),
            (["shop", "-d", "prod", "--previous"], "REFERENCE_INVALID", "spa:shop"),
            (["spa:a:1\n", "-d", "prod"], "REFERENCE_INVALID", "can't be seen"),
            (["spa:a:1", "-d", "prod", "--source", "dev"], "SETTING_INVALID", "--source"),
        ],
    )
    def test_bad_input_is_told_before_any_network(
        self, run: Any, server: Any, dex: Any, args: list[str], reason: str, hint: str
    ) -> None:
        ran = run("activate", *args, "-o", "json")
        error = json.loads(ran.err)["error"]
        assert (ran.code, ran.out, error["reason"]) == (2, "", reason)
        assert hint in error["message"] + error["fix"]
        assert not dex.logins
        assert not server.asked

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (NotActivatable("nothing of kind 'image' can go live", fix="spa can"), 2),
            (NotAuthorized("you may not", fix="ask for the group"), 5),
        ],
    )
    def test_a_refused_start_ends_with_its_code(
        self, run: Any, server: Any, dex: Any, error: Any, code: int
    ) -> None:
        server.error = error
        ran = run("activate", "image:a:1", "-d", "prod")
        assert (ran.code, ran.out) == (code, "")
        assert ran.err.endswith(f"error: {error.message}\nfix: {error.fix}\ncode: {error.reason}\n")

    def test_the_token_is_shown_when_asked_for(
        self, run: Any, server: Any, dex: Any, went_live: Any
    ) -> None:
        ran = run("activate", "spa:shop:1.4.2", "-d", "prod", "--show-token")
        assert ran.out.splitlines()[0] == "first-token"
        assert "first-token" not in run("activate", "spa:shop:1.4.2", "-d", "prod").out


class TestPlan:
    @staticmethod
    def report(outcome: Outcome, current: str, **more: Any) -> PlanReport:
        steps = (Step("keep", "1.4.1 to go back to"), Step("switch", "index.html to 1.4.2", 2_000))
        item = PlannedItem("spa:shop:1.4.2", "spa", outcome, DIGEST, current, steps=steps, **more)
        return PlanReport("prod", "prod", outcome, (item,), Action.ACTIVATE)

    def test_says_what_is_live_and_what_would_be_switched(
        self, run: Any, server: Any, dex: Any
    ) -> None:
        server.plan = self.report(Outcome.ACTIVATED, OLD)
        ran = run("activate", "spa:shop:1.4.2", "-d", "prod", "--plan")
        assert ran.code == 0
        assert ran.out == (
            f"would activate spa:shop:1.4.2 in prod  {DIGEST}\n"
            f"  live now: {OLD}\n"
            "  keep 1.4.1 to go back to\n"
            "  switch index.html to 1.4.2  2.0 kB\n"
        )
        assert [method for method, _ in server.asked] == ["plan_activation", "closed"]

    def test_says_that_nothing_is_live(self, run: Any, server: Any, dex: Any) -> None:
        server.plan = self.report(Outcome.ACTIVATED, "")
        ran = run("activate", "spa:shop:1.4.2", "-d", "prod", "--plan")
        assert "  live now: nothing\n" in ran.out

    def test_says_that_it_is_live_already(self, run: Any, server: Any, dex: Any) -> None:
        server.plan = self.report(Outcome.UNCHANGED, DIGEST)
        ran = run("activate", "spa:shop:1.4.2", "-d", "prod", "--plan")
        assert (ran.code, ran.out) == (0, f"unchanged spa:shop:1.4.2 in prod  {DIGEST}\n")

    def test_json(self, run: Any, server: Any, dex: Any) -> None:
        server.plan = self.report(Outcome.ACTIVATED, OLD)
        ran = run("activate", "spa:shop:1.4.2", "-d", "prod", "--plan", "-o", "json")
        plan = json.loads(ran.out)
        assert (plan["action"], plan["outcome"]) == ("activate", "activated")
        assert plan["items"][0]["current_digest"] == OLD
        assert plan["items"][0]["steps"][0]["action"] == "keep"

    def test_exits_as_the_activation_would(self, run: Any, server: Any, dex: Any) -> None:
        failure = Failure("ARTIFACT_NOT_FOUND", "prod has no spa:shop:1.4.2", "promote it first")
        item = PlannedItem("spa:shop:1.4.2", "spa", Outcome.FAILED, error=failure)
        server.plan = PlanReport("prod", "prod", Outcome.FAILED, (item,), Action.ACTIVATE)
        ran = run("activate", "spa:shop:1.4.2", "-d", "prod", "--plan")
        assert (ran.code, ran.out) == (9, "would fail spa:shop:1.4.2 in prod  -\n")
        assert "fix: promote it first" in ran.err
