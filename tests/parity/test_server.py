"""The original tool's server: one test for each of its variables and flags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.errors import InvalidSetting
from imgctl_core.promoter import Promoter
from imgctl_core.server.assemble import configure_plugins
from imgctl_core.settings import load_settings

REQUIRED = {"OIDC_ISSUER_URL": "https://dex.example", "OIDC_AUDIENCE": "https://imgctl.example"}
ENDPOINTS = {"IMGCTL_REGISTRY_DEV": "dev.example", "IMGCTL_REGISTRY_PROD": "prod.example/team"}


def promoter(kind: str, **variables: str) -> Promoter[Any, Any]:
    plugins = configure_plugins(load_settings(environ={**REQUIRED, **variables}))
    return plugins.promoters[kind]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {**REQUIRED, **ENDPOINTS}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("IMGCTL_AUDIT_LOG", str(tmp_path / "audit.jsonl"))


def test_oidc_issuer_url() -> None:
    assert load_settings(environ=REQUIRED).oidc.issuer_url == "https://dex.example"


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_oidc_issuer_url_and_oidc_audience_are_required(name: str) -> None:
    environ = {key: value for key, value in REQUIRED.items() if key != name}
    with pytest.raises(InvalidSetting, match=name):
        load_settings(environ=environ)


def test_oidc_audience() -> None:
    assert load_settings(environ=REQUIRED).oidc.audience == "https://imgctl.example"


def test_oidc_allowed_groups() -> None:
    environ = {**REQUIRED, "OIDC_ALLOWED_GROUPS": "engineering, release-managers ,"}
    settings = load_settings(environ=environ)
    assert settings.oidc.allowed_groups == ("engineering", "release-managers")
    assert settings.warnings == ()


def test_oidc_allowed_groups_default_is_warned_about() -> None:
    settings = load_settings(environ=REQUIRED)
    assert settings.oidc.allowed_groups == ("engineering@example.com",)
    (warning,) = settings.warnings
    assert "OIDC_ALLOWED_GROUPS" in warning


def test_oidc_allowed_groups_set_but_empty_refuses_to_start() -> None:
    with pytest.raises(InvalidSetting, match="OIDC_ALLOWED_GROUPS"):
        load_settings(environ={**REQUIRED, "OIDC_ALLOWED_GROUPS": ""})


def test_imgctl_registry_name() -> None:
    image = promoter(
        "image", IMGCTL_REGISTRY_DEV="dev.example", IMGCTL_REGISTRY_PROD_EU="eu:5000/x"
    )
    assert {name: end.registry for name, end in image.endpoints.items()} == {
        "dev": "dev.example",
        "prod-eu": "eu:5000/x",
    }


def test_imgctl_spa_name_is_a_bucket_suffix() -> None:
    from imgctl_backends.spa.promoter import SpaPromoter

    spa = promoter("spa", IMGCTL_SPA_DEV="dev", IMGCTL_SPA_PROD="acme-prod")
    assert isinstance(spa, SpaPromoter)
    assert spa.endpoints["prod"].suffix == "acme-prod"
    assert spa.describe(spa.endpoints["prod"]).endswith("acme-prod")


def test_imgctl_ecr_region() -> None:
    image = promoter("image", IMGCTL_REGISTRY_DEV="dev.example", IMGCTL_ECR_REGION="eu-west-3")
    assert image.settings.ecr_region == "eu-west-3"


def test_imgctl_ecr_region_default() -> None:
    image = promoter("image", IMGCTL_REGISTRY_DEV="dev.example")
    assert image.settings.ecr_region == "us-east-1"


def test_imgctl_default_source() -> None:
    settings = load_settings(environ={**REQUIRED, "IMGCTL_DEFAULT_SOURCE": "Dev_EU"})
    assert settings.server.default_source == "dev-eu"


def test_imgctl_slack_webhook_url() -> None:
    url = "https://hooks.slack.example/services/T/B/x"
    settings = load_settings(environ={**REQUIRED, **ENDPOINTS, "IMGCTL_SLACK_WEBHOOK_URL": url})
    (name, notifier), *others = configure_plugins(settings).notifiers.items()
    assert (name, others) == ("slack", [])
    assert notifier.settings.webhook_url.get_secret_value() == url
    assert url not in repr(notifier.settings)


def test_imgctl_slack_webhook_url_absent_is_off() -> None:
    settings = load_settings(environ={**REQUIRED, **ENDPOINTS})
    assert configure_plugins(settings).notifiers == {}


def test_imgctl_slack_webhook_url_empty_is_off() -> None:
    environ = {**REQUIRED, **ENDPOINTS, "IMGCTL_SLACK_WEBHOOK_URL": ""}
    assert configure_plugins(load_settings(environ=environ)).notifiers == {}


FILE = """
[server]
default_source = "dev"
[oidc]
issuer_url = "https://dex.example"
audience = "https://imgctl.example"
allowed_groups = ["engineering"]
[environments.dev.image]
registry = "dev.example"
[environments.prod.image]
registry = "prod.example"
[environments.prod.spa]
suffix = "prod"
[plugins.image]
ecr_region = "eu-west-3"
[notifiers.slack]
webhook_url = "https://hooks.slack.example/services/T/B/x"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "imgctl.toml"
    path.write_text(FILE)
    return path


def test_the_same_in_a_toml_file(file: Path) -> None:
    settings = load_settings(config=file, environ={})
    plugins = configure_plugins(settings)
    assert settings.server.default_source == "dev"
    assert settings.oidc.allowed_groups == ("engineering",)
    assert plugins.promoters["image"].endpoints["prod"].registry == "prod.example"
    assert plugins.promoters["image"].settings.ecr_region == "eu-west-3"
    assert plugins.promoters["spa"].endpoints["prod"].suffix == "prod"
    assert list(plugins.notifiers) == ["slack"]


def test_imgctl_config_names_the_file(file: Path) -> None:
    settings = load_settings(environ={"IMGCTL_CONFIG": str(file)})
    assert settings.oidc.issuer_url == "https://dex.example"


def test_config_flag_names_the_file(
    imgctl: Callable[..., Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMGCTL_CONFIG", "/nowhere.toml")
    assert imgctl("server", "--check", "--config", str(file)).code == 0


def test_variables_go_before_the_file(file: Path) -> None:
    environ = {"OIDC_AUDIENCE": "other", "IMGCTL_REGISTRY_DEV": "other.example"}
    settings = load_settings(config=file, environ=environ)
    assert settings.oidc.audience == "other"
    endpoints = configure_plugins(settings).promoters["image"].endpoints
    assert endpoints["dev"].registry == "other.example"


def test_bind_address_default() -> None:
    assert load_settings(environ=REQUIRED).server.bind_address == "127.0.0.1:9999"


@pytest.mark.parametrize("flag", ["--bind-address", "-b"])
def test_bind_address_flag(
    imgctl: Callable[..., Any], environment: None, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    monkeypatch.setenv("IMGCTL_BIND_ADDRESS", "0.0.0.0:9999")  # which alone would be refused
    assert imgctl("server", "--check", flag, "127.0.0.1:9999").code == 0


def test_beyond_the_loopback_without_tls_refuses_to_start(
    imgctl: Callable[..., Any], environment: None
) -> None:
    ran = imgctl("server", "--check", "--bind-address", "0.0.0.0:9999")
    assert ran.code == 2
    assert "TLS" in ran.err
    assert "--insecure-plaintext" in ran.err


def test_insecure_plaintext(imgctl: Callable[..., Any], environment: None) -> None:
    arguments = ("server", "--check", "--bind-address", "0.0.0.0:9999", "--insecure-plaintext")
    assert imgctl(*arguments).code == 0


def test_tls_cert_and_tls_key(
    imgctl: Callable[..., Any], environment: None, tls_files: Any
) -> None:
    address = ("server", "--check", "--bind-address", "0.0.0.0:9999")
    tls = ("--tls-cert", str(tls_files.cert), "--tls-key", str(tls_files.key))
    assert imgctl(*address, *tls).code == 0
    assert imgctl(*address, *tls[:2]).code == 2


def test_check_names_what_is_wrong_and_exits(
    imgctl: Callable[..., Any], environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OIDC_ISSUER_URL", "http://dex.example")
    ran = imgctl("server", "--check")
    assert ran.code == 2
    assert "OIDC_ISSUER_URL" in ran.err


def test_a_server_without_endpoints_refuses_to_start() -> None:
    with pytest.raises(InvalidSetting, match="no environment has an endpoint"):
        configure_plugins(load_settings(environ=REQUIRED))
