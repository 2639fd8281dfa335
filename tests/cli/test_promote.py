from __future__ import annotations

import json
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from imgctl_core.errors import (
    Conflict,
    LoginRefused,
    NotAuthorized,
    ServerUnreachable,
    StreamCut,
)
from imgctl_core.models import (
    Failure,
    ItemProgress,
    ItemResult,
    OnConflict,
    Outcome,
    Phase,
    PlannedItem,
    PlanReport,
    Progress,
    Step,
)

DIGEST = "sha256:" + "9f" * 32
HEAD = "3f" * 32
OLD = "sha256:" + "77" * 32
MOVING = Progress(Phase.STAGE, (ItemProgress("myapp:v1", Phase.STAGE, 6_000, 1_000, 2_000, 0),))


class TestResult:
    def test_one_line_an_item_on_stdout_and_the_rest_on_stderr(
        self, run: Any, server: Any, dex: Any
    ) -> None:
        server.stream = [MOVING, server.promotion]
        ran = run("promote", "myapp:v1", "-d", "prod")
        assert ran.code == 0
        assert ran.out == f"promoted myapp:v1 to prod  {DIGEST}  pr_01K3\n"
        assert "myapp:v1  promoted  1.0 kB moved, 2.0 kB already there, 3.0 kB mounted" in ran.err
        assert "myapp:v1  copying  1.0 kB moved, 2.0 kB already there, 0 B mounted" in ran.err

    def test_json_is_the_contracts_object_and_leaves_stderr_alone(
        self, run: Any, server: Any, dex: Any
    ) -> None:
        server.promotion = replace(server.promotion, audit_head=HEAD)
        server.stream = [MOVING, server.promotion]
        ran = run("promote", "myapp:v1", "-d", "prod", "-o", "json", "--client-secret", "x")
        assert (ran.code, ran.err) == (0, "")
        assert json.loads(ran.out) == {
            "schema_version": 1,
            "id": "pr_01K3",
            "outcome": "promoted",
            "source": "dev",
            "destination": "prod",
            "items": [
                {
                    "ref": "myapp:v1",
                    "kind": "image",
                    "outcome": "promoted",
                    "digest": DIGEST,
                    "bytes_copied": 1000,
                    "bytes_present": 2000,
                    "bytes_mounted": 3000,
                    "error": None,
                }
            ],
            "audit_head": HEAD,
            "audit_degraded": False,
        }

    def test_a_manifest_is_told_of_in_json_when_there_is_one(
        self, run: Any, server: Any, dex: Any, promotion: Any
    ) -> None:
        server.promotion = promotion(
            ItemResult("spa:a:1", "spa", Outcome.PROMOTED, manifest_rows=3, manifest_digest=DIGEST)
        )
        (item,) = json.loads(run("promote", "spa:a:1", "-d", "prod", "-o", "json").out)["items"]
        assert (item["manifest_rows"], item["manifest_digest"]) == (3, DIGEST)

    def test_a_failed_item_shows_its_error_and_gives_its_exit_code(
        self, run: Any, server: Any, dex: Any, promotion: Any
    ) -> None:
        failure = Failure("CONFLICT", "prod holds another digest", "use another tag")
        item = ItemResult("myapp:v1", "image", Outcome.CONFLICT, DIGEST, error=failure)
        server.promotion = promotion(item, outcome=Outcome.CONFLICT)
        ran = run("promote", "myapp:v1", "-d", "prod")
        assert ran.code == 8
        assert ran.out == f"conflict myapp:v1 to prod  {DIGEST}  pr_01K3\n"
        assert ran.err == (
            "error: prod holds another digest\nfix: use another tag\nid: pr_01K3 code: CONFLICT\n"
        )
        ran = run("promote", "myapp:v1", "-d", "prod", "-o", "json")
        assert ran.code == 8
        error = {
            "reason": "CONFLICT",
            "message": "prod holds another digest",
            "fix": "use another tag",
            "id": "",
        }
        assert json.loads(ran.out)["items"][0]["error"] == error
        assert json.loads(ran.err)["error"] == {**error, "id": "pr_01K3"}

    def test_several_items_some_failed(
        self, run: Any, server: Any, dex: Any, promotion: Any
    ) -> None:
        absent = Failure("ARTIFACT_NOT_FOUND", "no such tag", "", "")
        down = Failure("ENDPOINT_UNREACHABLE", "no answer", "wait", "in_7")
        server.promotion = promotion(
            ItemResult("a:1", "image", Outcome.UNCHANGED, DIGEST),
            ItemResult("b:1", "image", Outcome.FAILED, error=absent),
            ItemResult("c:1", "image", Outcome.FAILED, error=down),
            outcome=Outcome.FAILED,
        )
        ran = run("promote", "a:1", "b:1", "-r", "c:1", "-d", "prod")
        assert ran.code == 2
        ran = run("promote", "a:1", "b:1", "c:1", "-d", "prod")
        assert ran.code == 1
        assert server.requests[-1].refs == ("a:1", "b:1", "c:1")
        assert ran.out == (
            f"unchanged a:1 to prod  {DIGEST}  pr_01K3\n"
            "failed b:1 to prod  -  pr_01K3\n"
            "failed c:1 to prod  -  pr_01K3\n"
        )
        assert ran.err == (
            "error: b:1: no such tag\nid: pr_01K3 code: ARTIFACT_NOT_FOUND\n"
            "error: c:1: no answer\nfix: wait\nid: in_7 code: ENDPOINT_UNREACHABLE\n"
        )
        ran = run("promote", "a:1", "b:1", "c:1", "-d", "prod", "-o", "json")
        error = json.loads(ran.err)["error"]
        assert (error["reason"], error["id"]) == ("PROMOTION_FAILED", "pr_01K3")
        assert "2 of 3 items" in error["message"]

    def test_other_peoples_text_steers_no_terminal(
        self, run: Any, server: Any, dex: Any, promotion: Any
    ) -> None:
        evil = "a\x1b[2J\u202e:1\nerror: x"
        server.promotion = promotion(
            ItemResult(evil, evil, Outcome.FAILED, evil, error=Failure(evil, evil, evil, evil)),
            outcome=Outcome.FAILED,
        )
        server.stream = [
            Progress(Phase.STAGE, (ItemProgress(evil, Phase.STAGE, message=evil),)),
            server.promotion,
        ]
        for form in ("text", "json"):
            ran = run("promote", "a:1", "-d", "prod", "-o", form)
            assert ran.code == 1
            assert not {"\x1b", "\u202e"} & set(ran.out + ran.err)
            assert len(ran.out.splitlines()) == 1

    def test_an_outcome_missing_from_the_audit_log_is_said(
        self, run: Any, server: Any, dex: Any, promotion: Any
    ) -> None:
        server.promotion = promotion(audit_degraded=True)
        ran = run("promote", "a:1", "-d", "prod")
        assert ran.code == 0
        assert "warning: the server could not write this outcome to its audit log" in ran.err
        document = json.loads(run("watch", "pr_01K3", "-o", "json").out)
        assert (document["audit_head"], document["audit_degraded"]) == ("", True)


class TestRequest:
    def test_what_is_asked_for(self, run: Any, server: Any, dex: Any) -> None:
        run("promote", "-r", "a:1", "--source", "dev", "-d", "prod", "--on-conflict", "replace")
        (request,) = server.requests
        assert request.refs == ("a:1",)
        assert (request.source, request.destination) == ("dev", "prod")
        assert request.on_conflict is OnConflict.REPLACE

    def test_source_and_conflict_have_defaults(
        self, run: Any, server: Any, dex: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IMGCTL_DEFAULT_DESTINATION", "int")
        run("promote", "a:1")
        monkeypatch.setenv("IMGCTL_DEFAULT_SOURCE", "dev")
        run("promote", "a:1")
        first, second = server.requests
        assert (first.source, first.destination) == ("", "int")
        assert first.on_conflict is OnConflict.FAIL
        assert second.source == "dev"
        assert first.request_id != second.request_id

    @pytest.mark.parametrize(
        ("args", "reason", "hint"),
        [
            (["-d", "prod"], "SETTING_INVALID", "no ref is given"),
            (["a:1", "-r", "a:1", "-d", "prod"], "SETTING_INVALID", "by --ref, or by --file"),
            (["a:1"], "ENVIRONMENT_MISSING", "IMGCTL_DEFAULT_DESTINATION"),
            (["a:1", "-d", ""], "ENVIRONMENT_MISSING", "--destination"),
            (["", "-d", "prod"], "REFERENCE_INVALID", "the ref is empty"),
            (["  ", "-d", "prod"], "REFERENCE_INVALID", "the ref is empty"),
            (["myapp", "-d", "prod"], "REFERENCE_INVALID", "myapp:v1.0.0"),
            (["a:1", "b", "-d", "prod"], "REFERENCE_INVALID", "'b' has neither a tag"),
            (["a:1\n", "-d", "prod"], "REFERENCE_INVALID", "can't be seen"),
            (["a:1\udcff", "-d", "prod"], "REFERENCE_INVALID", "can't be seen"),
            (["a:1", "-d", "prod", "--on-conflict", "x"], "SETTING_INVALID", "replace"),
            (["a:1", "-d", "prod", "--audience-mode", "x"], "SETTING_INVALID", "cross-client"),
            (["a:1", "-d", "prod", "--destin", "x"], "SETTING_INVALID", "--destin"),
            (["a:1", "-d", "prod", "-s", "nowhere"], "SETTING_INVALID", "no port"),
            (["a:1", "-d", "p", "-s", "h", "--audience", "x"], "SETTING_INVALID", "no port"),
        ],
    )
    def test_bad_input_is_told_before_any_network(
        self, run: Any, server: Any, dex: Any, args: list[str], reason: str, hint: str
    ) -> None:
        ran = run("promote", *args, "-o", "json")
        error = json.loads(ran.err)["error"]
        assert (ran.code, ran.out, error["reason"]) == (2, "", reason)
        assert hint in error["message"] + error["fix"]
        assert not dex.logins
        assert not server.asked


class TestPlan:
    REPORT = PlanReport(
        "dev",
        "prod",
        Outcome.PROMOTED,
        (
            PlannedItem(
                "myapp:v1",
                "image",
                Outcome.PROMOTED,
                DIGEST,
                OLD,
                41_200_000,
                170_800_000,
                (Step("copy", "sha256:aa", 41_200_000), Step("tag", "v1")),
            ),
        ),
    )

    def test_says_what_would_happen_and_starts_nothing(
        self, run: Any, server: Any, dex: Any
    ) -> None:
        server.plan = self.REPORT
        ran = run("promote", "myapp:v1", "-d", "prod", "--plan")
        assert ran.code == 0
        assert ran.out == (
            f"would promote myapp:v1 to prod  {DIGEST}\n"
            f"  now there: {OLD}\n"
            "  41.2 MB to copy, 170.8 MB already there\n"
            "  copy sha256:aa  41.2 MB\n"
            "  tag v1\n"
        )
        assert [method for method, _ in server.asked] == ["plan", "closed"]

    def test_json(self, run: Any, server: Any, dex: Any) -> None:
        server.plan = self.REPORT
        ran = run("promote", "myapp:v1", "-d", "prod", "--plan", "-o", "json")
        plan = json.loads(ran.out)
        assert (plan["schema_version"], plan["outcome"]) == (1, "promoted")
        (item,) = plan["items"]
        assert item["current_digest"] == OLD
        assert item["bytes_to_copy"] == 41_200_000
        assert item["steps"][1] == {"action": "tag", "subject": "v1", "bytes": 0}
        assert item["error"] is None

    def test_thousands_of_steps_are_cut_short(self, run: Any, server: Any, dex: Any) -> None:
        steps = tuple(Step("copy", f"{number}.js") for number in range(2_000))
        item = PlannedItem("spa:a:1", "spa", Outcome.PROMOTED, DIGEST, steps=steps)
        server.plan = PlanReport("dev", "prod", Outcome.PROMOTED, (item,))
        ran = run("promote", "spa:a:1", "-d", "prod", "--plan")
        assert len(ran.out.splitlines()) < 30
        assert "and 1980 more" in ran.out

    def test_exits_as_the_promotion_would(self, run: Any, server: Any, dex: Any) -> None:
        failure = Failure("CONFLICT", "prod holds another digest", "use another tag")
        item = PlannedItem("a:1", "image", Outcome.CONFLICT, DIGEST, OLD, error=failure)
        server.plan = PlanReport("dev", "prod", Outcome.CONFLICT, (item,))
        ran = run("promote", "a:1", "-d", "prod", "--plan")
        assert ran.code == 8
        assert ran.out == f"would conflict a:1 to prod  {DIGEST}\n  now there: {OLD}\n"
        assert "error: prod holds another digest" in ran.err


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (NotAuthorized("you may not", fix="ask for the group promoters", id="in_1"), 5),
            (Conflict("something else is there"), 8),
            (ServerUnreachable("nothing listens there"), 10),
        ],
    )
    def test_a_refused_start_ends_with_its_code(
        self, run: Any, server: Any, dex: Any, error: Any, code: int
    ) -> None:
        server.error = error
        ran = run("promote", "a:1", "-d", "prod")
        assert (ran.code, ran.out) == (code, "")
        assert f"error: {error.message}\n" in ran.err
        assert f"code: {error.reason}\n" in ran.err
        assert server.asked[-1] == ("closed", "")

    def test_a_refused_login(self, run: Any, server: Any, dex: Any) -> None:
        dex.error = LoginRefused("Dex said no", fix="check your key")
        ran = run("promote", "a:1", "-d", "prod", "-o", "json")
        assert ran.code == 4
        assert json.loads(ran.err)["error"]["reason"] == "LOGIN_REFUSED"
        assert not server.asked

    @pytest.mark.parametrize("error", [StreamCut("cut off"), ServerUnreachable("went away")])
    def test_a_lost_connection_says_how_to_go_on(
        self, run: Any, server: Any, dex: Any, error: Any
    ) -> None:
        server.stream = [MOVING, error]
        ran = run("promote", "a:1", "-d", "prod")
        assert (ran.code, ran.out) == (10, "")
        assert f"error: {error.message}\n" in ran.err
        assert "imgctl watch pr_01K3" in ran.err
        assert f"id: pr_01K3 code: {error.reason}\n" in ran.err

    @pytest.mark.parametrize("stream", [[MOVING], []])
    def test_a_stream_without_a_result_is_no_success(
        self, run: Any, server: Any, dex: Any, monkeypatch: pytest.MonkeyPatch, stream: list[Any]
    ) -> None:
        monkeypatch.setattr("imgctl_cli.connection.Session.watch", lambda *args: iter(stream))
        ran = run("promote", "a:1", "-d", "prod")
        assert (ran.code, ran.out) == (10, "")
        assert "imgctl watch pr_01K3" in ran.err

    def test_control_c_detaches(self, run: Any, server: Any, dex: Any) -> None:
        server.stream = [MOVING, KeyboardInterrupt()]
        ran = run("promote", "a:1", "-d", "prod")
        assert (ran.code, ran.out) == (130, "")
        assert ran.err.endswith("imgctl watch pr_01K3\n")

    def test_control_c_before_there_is_a_promotion(
        self, run: Any, server: Any, dex: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("imgctl_core.client.login.login", interrupted)
        ran = run("promote", "a:1", "-d", "prod")
        assert (ran.code, ran.out) == (130, "")
        assert "Traceback" not in ran.err


class TestTooManyCalls:
    @pytest.fixture
    def slept(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        slept: list[float] = []
        clock = SimpleNamespace(time=time.time, sleep=slept.append)
        monkeypatch.setattr("imgctl_cli.connection.time", clock)
        return slept

    def test_waits_as_long_as_the_server_says(
        self, run: Any, server: Any, dex: Any, slept: list[float]
    ) -> None:
        server.busy = [2.5, 0.001]
        ran = run("promote", "a:1", "-d", "prod")
        assert ran.code == 0
        assert slept == [2.5, 0.1]
        assert "too many calls from you: trying again in 2.5 s\n" in ran.err
        # Were the refused one carried out after all, it would be one promotion still.
        assert len({request.request_id for request in server.requests}) == 1
        assert len(dex.logins) == 1

    def test_a_refused_token_is_found_out_after_a_wait(
        self, run: Any, server: Any, dex: Any, slept: list[float]
    ) -> None:
        server.busy, server.refused = [1.0], {"first-token"}
        assert run("promote", "a:1", "-d", "prod").code == 0
        assert slept == [1.0]

    @pytest.mark.parametrize("waits", [[31.0], [0.0], [16.0, 15.0, 1.0], [1e300]])
    def test_for_half_a_minute_at_most(
        self, waits: list[float], run: Any, server: Any, dex: Any, slept: list[float]
    ) -> None:
        server.busy = list(waits)
        ran = run("promote", "a:1", "-d", "prod", "-o", "json")
        assert ran.code == 10
        assert json.loads(ran.err)["error"]["reason"] == "RATE_LIMITED"
        assert sum(slept) <= 30


class TestToken:
    def test_a_refused_cached_token_is_replaced_once(self, run: Any, server: Any, dex: Any) -> None:
        server.refused = {"first-token"}
        ran = run("promote", "a:1", "-d", "prod")
        assert ran.code == 0
        assert [use_cache for _, use_cache in dex.logins] == [True, False]
        first, second = server.requests
        assert first.request_id == second.request_id
        assert "logging in afresh" in ran.err

    def test_when_both_are_refused_our_own_copy_explains(
        self, run: Any, server: Any, dex: Any
    ) -> None:
        server.refused = {"first-token", "second-token"}
        dex.claims = {"iss": "https://dex.test", "aud": "https://elsewhere.test", "exp": 1}
        ran = run("promote", "a:1", "-d", "prod")
        assert ran.code == 4
        assert "error: the server refused the token: " in ran.err
        assert "https://elsewhere.test" in ran.err
        assert "code: TOKEN_REFUSED\n" in ran.err
        assert len(dex.logins) == 2
        assert "-token" not in ran.out + ran.err

    def test_a_fresh_token_that_is_refused_is_not_asked_for_again(
        self, run: Any, server: Any, dex: Any
    ) -> None:
        server.refused = {"first-token"}
        dex.claims = {"iat": int(time.time()) + 1}
        ran = run("promote", "a:1", "-d", "prod")
        assert ran.code == 4
        assert len(dex.logins) == 1

    def test_is_shown_only_when_asked_for(self, run: Any, server: Any, dex: Any) -> None:
        for form in ("text", "json"):
            ran = run("promote", "a:1", "-d", "prod", "-o", form, "--verbose")
            dex.logins.clear()
            assert "first-token" not in ran.out + ran.err

    def test_comes_before_the_result(self, run: Any, server: Any, dex: Any) -> None:
        ran = run("promote", "a:1", "-d", "prod", "--show-token")
        assert ran.code == 0
        assert ran.out.splitlines()[0] == "first-token"
        assert ran.out.splitlines()[1].startswith("promoted ")
        assert "first-token" not in ran.err

    def test_is_a_field_of_the_json(self, run: Any, server: Any, dex: Any) -> None:
        server.refused = {"first-token"}
        ran = run("promote", "a:1", "-d", "prod", "--show-token", "-o", "json")
        assert json.loads(ran.out)["token"] == "second-token"

    def test_is_shown_of_a_plan_too(self, run: Any, server: Any, dex: Any) -> None:
        server.plan = TestPlan.REPORT
        ran = run("promote", "a:1", "-d", "prod", "--show-token", "--plan", "-o", "json")
        assert json.loads(ran.out)["token"] == "first-token"

    def test_is_shown_when_the_server_refuses_it(self, run: Any, server: Any, dex: Any) -> None:
        server.refused = {"first-token", "second-token"}
        ran = run("promote", "a:1", "-d", "prod", "--show-token")
        assert (ran.code, ran.out) == (4, "second-token\n")
        dex.logins.clear()
        ran = run("promote", "a:1", "-d", "prod", "--show-token", "-o", "json")
        assert (ran.code, json.loads(ran.out)["token"]) == (4, "second-token")

    def test_what_the_login_says_is_shown_to_people(self, run: Any, server: Any, dex: Any) -> None:
        dex.lines = ("signing with SHA-1, which is weak\x1b[0m",)
        ran = run("promote", "a:1", "-d", "prod")
        assert ran.err.startswith("signing with SHA-1, which is weak\ufffd[0m\n")
        assert run("promote", "a:1", "-d", "prod", "-o", "json").err == ""
