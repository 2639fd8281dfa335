"""What the settings say about trust reaches the parts that act on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import time
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imgctl_core.context import CancelToken
from imgctl_core.errors import InvalidSetting, NotAuthorized, TokenRefused
from imgctl_core.models import Actor, OnConflict, Outcome, PromotionRequest
from imgctl_core.server.assemble import Assembly, assemble, configure_plugins
from imgctl_core.server.run import server_of
from imgctl_core.settings import load_settings
from imgctl_core.testing.images import sample_image
from imgctl_core.testing.issuer import Issuer, User
from imgctl_core.testing.registry import Registry

AUDIENCE = "https://imgctl.example.com"
ALICE = Actor("https://dex", "alice", groups=("eng",))

Make = Callable[..., Assembly]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer(users={"alice": User(groups=("eng",))}) as issuer:
        yield issuer


@pytest.fixture
def make(tmp_path: Path, issuer: Issuer) -> Iterator[Make]:
    """Assemble a server from a settings file and variables."""
    with ExitStack() as stack:

        def made(file: str = "", **variables: str) -> Assembly:
            config = tmp_path / "imgctl.toml"
            config.write_text(file)
            environ = {
                "OIDC_ISSUER_URL": issuer.url,
                "OIDC_AUDIENCE": AUDIENCE,
                "OIDC_ALLOWED_GROUPS": "eng",
                "IMGCTL_REGISTRY_DEV": "127.0.0.1:1",
                "IMGCTL_REGISTRY_PROD": "127.0.0.1:2",
                "IMGCTL_AUDIT_LOG": str(tmp_path / "audit.jsonl"),
                **variables,
            }
            settings = load_settings(config=config, environ=environ)
            parts = assemble(settings, configure_plugins(settings))
            stack.callback(parts.close)
            return parts

        yield made


def test_authorized_parties(make: Make, issuer: Issuer) -> None:
    verifier = make(OIDC_AUTHORIZED_PARTIES="cli, bot").verifier
    assert verifier.verify(issuer.token(audience=[AUDIENCE, "cli"])).name == "alice"
    for audience in ([AUDIENCE, "other"], AUDIENCE):
        with pytest.raises(TokenRefused):
            verifier.verify(issuer.token(audience=audience))


def test_any_party_by_default(make: Make, issuer: Issuer) -> None:
    verifier = make().verifier
    assert verifier.verify(issuer.token(audience=[AUDIENCE, "other"])).name == "alice"
    assert verifier.verify(issuer.token(audience=AUDIENCE)).name == "alice"


@pytest.mark.parametrize(("variables", "stale"), [({}, 3600), ({"OIDC_KEYS_MAX_STALE": "0"}, 0)])
def test_how_long_keys_count_without_the_issuer(
    make: Make, variables: dict[str, str], stale: int
) -> None:
    assert make(**variables).keys.freshness.stale == stale


def test_how_long_a_token_may_live(make: Make, issuer: Issuer) -> None:
    verifier = make(OIDC_MAX_TOKEN_LIFETIME="3600").verifier
    assert verifier.verify(issuer.token(audience=AUDIENCE, exp=time() + 3600)).name == "alice"
    with pytest.raises(TokenRefused):
        verifier.verify(issuer.token(audience=AUDIENCE, exp=time() + 3700))


@pytest.mark.parametrize(
    ("variables", "connectors"),
    [({}, {"ssh"}), ({"OIDC_ALLOWED_CONNECTORS": "ldap, github"}, {"ldap", "github"})],
)
def test_which_connectors_count(
    make: Make, issuer: Issuer, variables: dict[str, str], connectors: set[str]
) -> None:
    verifier = make(**variables).verifier
    for connector in ("ssh", "ldap", "github"):
        token = issuer.token(audience=AUDIENCE, connector_id=connector)
        if connector in connectors:
            assert verifier.verify(token).connector == connector
        else:
            with pytest.raises(NotAuthorized):
                verifier.verify(token)


def test_what_is_there_is_replaced_only_where_the_settings_say(make: Make) -> None:
    with Registry() as dev, Registry() as one, Registry() as other:
        dev.put_image("app", "v1", sample_image("new"))
        variables = {"IMGCTL_REGISTRY_DEV": dev.url}
        for name, registry in (("STAGE", one), ("PROD", other)):
            registry.put_image("app", "v1", sample_image("old"))
            variables[f"IMGCTL_REGISTRY_{name}"] = registry.url
        engine = make(
            "[environments.stage]\nallow_replace = true\n[environments.prod]", **variables
        ).engine

        def planned(destination: str) -> Outcome | None:
            request = PromotionRequest(
                ("app:v1",), destination, "dev", on_conflict=OnConflict.REPLACE
            )
            return engine.plan(request, ALICE, CancelToken()).outcome

        assert planned("stage") is Outcome.PROMOTED
        assert planned("prod") is Outcome.CONFLICT


def test_health_waits_for_the_issuers_keys(make: Make, issuer: Issuer) -> None:
    parts = make()
    settings = load_settings(
        environ={
            "OIDC_ISSUER_URL": issuer.url,
            "OIDC_AUDIENCE": AUDIENCE,
            "IMGCTL_BIND_ADDRESS": "127.0.0.1:0",
        }
    )
    options = [("grpc.enable_http_proxy", 0)]
    with (
        server_of(settings, parts) as server,
        grpc.insecure_channel(server.address, options=options) as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        check = health_pb2.HealthCheckRequest()
        assert stub.Check(check, timeout=10).status == health_pb2.HealthCheckResponse.NOT_SERVING
        parts.verifier.verify(issuer.token(audience=AUDIENCE))
        assert stub.Check(check, timeout=10).status == health_pb2.HealthCheckResponse.SERVING


def test_rules_reach_the_policy(make: Make) -> None:
    policy = make("[[rules]]\nkinds = ['image']\nartifacts = ['team/*']").policy
    asked = {"kind": "image", "source": "dev", "destination": "prod"}
    policy.authorize(ALICE, name="team/app", **asked)
    with pytest.raises(NotAuthorized, match="rule 1 is for other artifacts"):
        policy.authorize(ALICE, name="app", **asked)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("destinations = ['prd']", "rule 1 names 'prd'"),
        ("sources = ['dve']", "rule 1 names 'dve'"),
        ("kinds = ['imge']", "rule 1 is for kind 'imge'"),
    ],
)
def test_a_rule_about_nothing_there_is_an_error(make: Make, rule: str, message: str) -> None:
    with pytest.raises(InvalidSetting, match=message) as wrong:
        make(f"[[rules]]\n{rule}")
    assert "did you mean" in wrong.value.fix


def test_a_rule_about_a_kind_out_of_use_is_none(make: Make) -> None:
    make("[[rules]]\nkinds = ['spa']\n[[rules]]\nkinds = ['image']", IMGCTL_PLUGINS_DISABLED="spa")


@pytest.mark.parametrize("table", ["allowed_groups = ['release']", "allow_replace = true", ""])
def test_a_table_about_no_environment_is_an_error(make: Make, table: str) -> None:
    """Or the environment that it was meant for would be open to everybody."""
    with pytest.raises(InvalidSetting, match=r"\[environments.prdo\]") as wrong:
        make(f"[environments.prdo]\n{table}")
    assert wrong.value.fix == "did you mean 'prod'?"


@pytest.mark.parametrize(
    ("file", "variables"),
    [
        ("[environments.web-eu]\nallowed_groups = ['web']", {"IMGCTL_SPA_WEB_EU": "web"}),
        ("[environments.web-eu.spa]\nsuffix = 'web'", {}),
    ],
)
def test_a_table_about_an_environment_of_a_kind_out_of_use_is_none(
    make: Make, file: str, variables: dict[str, str]
) -> None:
    variables["IMGCTL_PLUGINS_DISABLED"] = "spa"
    with pytest.raises(InvalidSetting, match="web-us"):
        make("[environments.web-us]", **variables)
    make(file, **variables)


def test_keys_may_be_elsewhere(make: Make, issuer: Issuer) -> None:
    """The issuer goes by its outside address, where this server does not reach it."""
    outside = "https://dex.example.com"
    parts = make(OIDC_ISSUER_URL=outside, OIDC_JWKS_URI=f"{issuer.url}/keys")
    token = issuer.token(audience=AUDIENCE, iss=outside)
    assert parts.verifier.verify(token).issuer == outside
    with pytest.raises(TokenRefused):
        parts.verifier.verify(issuer.token(audience=AUDIENCE))
