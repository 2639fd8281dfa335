"""The smaller commands that ask the server, and those that need none."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from imgctl_core._version import __version__
from imgctl_core.access import AuthReport, Decision, Explanation
from imgctl_core.errors import (
    InvalidSetting,
    NotAuthorized,
    PromotionNotFound,
    ServerUnreachable,
    TokenRefused,
)
from imgctl_core.models import (
    Actor,
    EndpointInfo,
    EnvironmentInfo,
    Failure,
    ItemResult,
    Outcome,
    PluginInfo,
    PluginStatus,
    PromotionRequest,
)

DIGEST = "sha256:" + "9f" * 32


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make stdout look like a terminal to the tables."""
    stdout = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr("imgctl_cli.output.text.sys", SimpleNamespace(stdout=stdout))


class TestWatch:
    def test_ends_as_the_promotion_does(self, run: Any, server: Any, dex: Any) -> None:
        ran = run("watch", "pr_01K3")
        assert (ran.code, ran.out) == (0, f"promoted myapp:v1 to prod  {DIGEST}  pr_01K3\n")
        assert ("watch", "pr_01K3") in server.asked

    def test_exits_as_the_promotion_would(
        self, run: Any, server: Any, dex: Any, promotion: Any
    ) -> None:
        gone = Failure("ARTIFACT_NOT_FOUND", "no such tag")
        server.promotion = promotion(
            ItemResult("a:1", "image", Outcome.FAILED, error=gone), outcome=Outcome.FAILED
        )
        ran = run("watch", "pr_01K3", "-o", "json")
        assert ran.code == 9
        assert json.loads(ran.out)["outcome"] == "failed"

    def test_an_unknown_promotion(self, run: Any, server: Any, dex: Any) -> None:
        server.stream = [PromotionNotFound("there is no promotion pr_2")]
        assert run("watch", "pr_2").code == 9

    def test_a_refused_cached_token_is_replaced_here_too(
        self, run: Any, server: Any, dex: Any
    ) -> None:
        server.refused = {"first-token"}
        assert run("watch", "pr_01K3").code == 0
        assert len(dex.logins) == 2

    def test_needs_an_id(self, run: Any, server: Any, dex: Any) -> None:
        ran = run("watch")
        assert ran.code == 2
        assert "Missing argument 'ID'" in ran.err


class TestCancel:
    def test_a_running_promotion(self, run: Any, server: Any, dex: Any) -> None:
        running = replace(server.promotion.items[0], outcome=None, digest="")
        server.promotion = replace(server.promotion, outcome=None, items=(running,))
        ran = run("cancel", "pr_01K3")
        assert (ran.code, ran.out) == (0, "running myapp:v1 to prod  -  pr_01K3\n")
        assert "imgctl watch pr_01K3" in ran.err
        assert ("cancel", "pr_01K3") in server.asked

    def test_one_that_had_ended_before(
        self, run: Any, server: Any, dex: Any, promotion: Any
    ) -> None:
        ran = run("cancel", "pr_01K3", "-o", "json")
        assert ran.code == 1
        assert json.loads(ran.out)["outcome"] == "promoted"
        assert "too late" in run("cancel", "pr_01K3").err
        server.promotion = promotion(outcome=Outcome.CANCELLED)
        dex.logins.clear()
        assert run("cancel", "pr_01K3").code == 0


class TestAuthCheck:
    @pytest.fixture(autouse=True)
    def report(self, server: Any) -> None:
        expires = datetime.now(UTC) + timedelta(hours=23, minutes=12, seconds=30)
        actor = Actor(
            "https://dex.test",
            "CgVhbGljZRIDc3No",
            "alice",
            "alice@example.com",
            ("engineering@example.com", "ops"),
            "ops",
            expires_at=expires,
        )
        server.auth = AuthReport(actor, ("int", "prod"), "1.2.3")

    def test_shows_who_and_where_to(self, run: Any, server: Any, dex: Any) -> None:
        ran = run("auth-check")
        assert (ran.code, ran.err) == (0, "")
        first, *rows = ran.out.splitlines()
        assert first == "authenticated as alice@example.com"
        shown = {key.strip(): text.strip() for key, _, text in (row.partition(":") for row in rows)}
        assert shown["name"] == "alice"
        assert shown["groups"] == "engineering@example.com, ops"
        assert shown["let in by"] == "ops"
        assert shown["expires"].endswith(" UTC, in 23 h 12 min")
        assert shown["may promote to"] == "int, prod"
        assert shown["server version"] == "1.2.3"

    def test_nobody_in_no_group(self, run: Any, server: Any, dex: Any) -> None:
        server.auth = AuthReport(Actor("https://dex.test", "x\x1b]0;y"))
        ran = run("auth-check")
        assert "groups:         none" in ran.out
        assert "may promote to: nothing" in ran.out
        assert "\x1b" not in ran.out

    def test_json(self, run: Any, server: Any, dex: Any) -> None:
        report = json.loads(run("auth-check", "-o", "json").out)
        assert report.pop("expires_at").endswith("Z")
        assert report == {
            "schema_version": 1,
            "subject": "CgVhbGljZRIDc3No",
            "name": "alice",
            "email": "alice@example.com",
            "groups": ["engineering@example.com", "ops"],
            "matched_group": "ops",
            "issuer": "https://dex.test",
            "destinations": ["int", "prod"],
            "server_version": "1.2.3",
        }

    DECISIONS = (
        Decision("oidc.allowed_groups", True, "group ops lets you in"),
        Decision("rules", False, "no rule allows it\x1b[2J", "ask for another"),
    )

    def test_explains_a_promotion(self, run: Any, server: Any, dex: Any) -> None:
        checks = self.DECISIONS
        server.auth = replace(server.auth, explanation=Explanation("a:1", "dev", "prod", checks))
        ran = run("auth-check", "--explain", "a:1", "-d", "prod", "--source", "dev")
        assert (ran.code, ran.err) == (1, "")
        assert ran.out.splitlines()[-4:] == [
            "promoting a:1 from dev to prod would be denied",
            "  yes  oidc.allowed_groups: group ops lets you in",
            "  no   rules: no rule allows it\ufffd[2J",
            "       ask for another",
        ]
        assert server.requests == [PromotionRequest(("a:1",), "prod", "dev")]

    def test_explains_a_promotion_as_json(self, run: Any, server: Any, dex: Any) -> None:
        checks = self.DECISIONS[:1]
        server.auth = replace(server.auth, explanation=Explanation("a:1", "dev", "prod", checks))
        ran = run("auth-check", "--explain", "a:1", "-d", "prod", "-o", "json")
        assert ran.code == 0
        assert json.loads(ran.out)["explanation"] == {
            "ref": "a:1",
            "source": "dev",
            "destination": "prod",
            "allowed": True,
            "decisions": [
                {
                    "check": "oidc.allowed_groups",
                    "allowed": True,
                    "why": "group ops lets you in",
                    "fix": "",
                }
            ],
        }

    def test_no_check_at_all_is_no_yes(self, run: Any, server: Any, dex: Any) -> None:
        server.auth = replace(server.auth, explanation=Explanation("a:1", "dev", "prod", ()))
        assert run("auth-check", "--explain", "a:1", "-d", "prod").code == 1

    @pytest.mark.parametrize(
        "args",
        [("-d", "prod"), ("--source", "x"), ("--explain", "a:1"), ("--explain", "a", "-d", "b")],
    )
    def test_half_a_question_is_2(self, run: Any, server: Any, dex: Any, args: Any) -> None:
        assert run("auth-check", *args).code == 2
        assert server.asked == []

    @pytest.mark.parametrize(
        "error",
        [NotAuthorized("no group of yours", fix="ask"), ServerUnreachable("x"), TokenRefused("x")],
    )
    def test_whatever_is_in_the_way_is_1(self, run: Any, server: Any, dex: Any, error: Any) -> None:
        server.error = error
        ran = run("auth-check", "-o", "json")
        assert (ran.code, ran.out) == (1, "")
        assert json.loads(ran.err.splitlines()[-1])["error"]["reason"] == error.reason

    def test_usage_is_2(
        self, run: Any, server: Any, dex: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run("auth-check", "--no-such").code == 2
        dex.error = InvalidSetting("--dex-url is no address")
        assert run("auth-check").code == 2
        monkeypatch.delenv("DEX_URL")
        assert run("auth-check").code == 2


@pytest.mark.parametrize("command", ["watch", "cancel", "manifest"])
@pytest.mark.parametrize("id", ["", "1", "pr_", "pr_a/b", "pr_\u200b1", "pr_1\n", "pr_" + "a" * 65])
def test_what_is_no_id_costs_no_call(
    command: str, id: str, run: Any, server: Any, dex: Any
) -> None:
    ran = run(command, id)
    assert (ran.code, ran.out) == (9, "")
    assert "is not the id of a promotion" in ran.err
    assert (server.asked, dex.logins) == ([], [])


def test_what_is_no_item_costs_no_call(run: Any, server: Any, dex: Any) -> None:
    assert run("manifest", "pr_1", "--ref", "a\u200b:1").code == 2
    assert (server.asked, dex.logins) == ([], [])


class TestLists:
    PLUGINS = (
        PluginInfo("image", "imgctl", "1.2.3", PluginStatus.ACTIVE, ("image",)),
        PluginInfo("slack", "imgctl", "1.2.3", PluginStatus.ACTIVE, (), ("slack",)),
        PluginInfo(
            "helm", "acme", "0.1", PluginStatus.QUARANTINED, phase="import", error="boom\n\x1b[1m"
        ),
    )
    ENVIRONMENTS = (
        EnvironmentInfo("dev", (EndpointInfo("image", "dev.test"),), default_source=True),
        EnvironmentInfo(
            "prod",
            (EndpointInfo("image", "prod.test"), EndpointInfo("spa", "live")),
            may_promote=True,
            allow_replace=True,
        ),
        EnvironmentInfo("empty", ()),
    )

    def test_plugins_for_a_pipe(self, run: Any, server: Any, dex: Any) -> None:
        server.plugins = self.PLUGINS
        ran = run("plugins")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out == (
            "image\tactive\timgctl 1.2.3\timage (promoter)\t\n"
            "slack\tactive\timgctl 1.2.3\tslack (notifier)\t\n"
            "helm\tquarantined\tacme 0.1\t-\tat import: boom \ufffd[1m\n"
        )

    def test_plugins_on_a_terminal(self, run: Any, server: Any, dex: Any, terminal: None) -> None:
        server.plugins = self.PLUGINS[:1]
        assert run("plugins").out == (
            "PLUGIN  STATUS  FROM          KINDS             PROBLEM\n"
            "image   active  imgctl 1.2.3  image (promoter)\n"
        )

    def test_plugins_as_json(self, run: Any, server: Any, dex: Any) -> None:
        server.plugins = self.PLUGINS
        helm = json.loads(run("plugins", "-o", "json").out)["plugins"][2]
        assert helm == {
            "name": "helm",
            "distribution": "acme",
            "version": "0.1",
            "status": "quarantined",
            "promoters": [],
            "notifiers": [],
            "phase": "import",
            "error": "boom\n\x1b[1m",
        }

    def test_environments(self, run: Any, server: Any, dex: Any) -> None:
        server.environments = self.ENVIRONMENTS
        assert run("environments").out == (
            "dev\timage dev.test\tdefault source\n"
            "prod\timage prod.test, spa live\tmay promote, may replace\n"
            "empty\t-\t-\n"
        )

    def test_environments_as_json(self, run: Any, server: Any, dex: Any) -> None:
        server.environments = self.ENVIRONMENTS
        rows = json.loads(run("environments", "-o", "json").out)["environments"]
        assert [row["name"] for row in rows] == ["dev", "prod", "empty"]
        assert rows[1] == {
            "name": "prod",
            "endpoints": [
                {"kind": "image", "address": "prod.test"},
                {"kind": "spa", "address": "live"},
            ],
            "default_source": False,
            "may_promote": True,
            "allow_replace": True,
        }


class TestVersion:
    def test_says_it_three_times_alike(self, run: Any) -> None:
        assert run("--version").out == f"imgctl {__version__}\n"
        assert run("version").out.startswith(f"imgctl {__version__} (Python ")
        assert json.loads(run("version", "-o", "json").out)["version"] == __version__
