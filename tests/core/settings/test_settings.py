"""Where the server's settings come from, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgctl_core.errors import InvalidSetting
from imgctl_core.rules import Rule
from imgctl_core.settings import DEFAULT_GROUP, load_settings

OIDC = {"OIDC_ISSUER_URL": "https://dex.example.com", "OIDC_AUDIENCE": "https://imgctl"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "imgctl.toml"
    path.write_text(
        """
        [server]
        bind_address = "127.0.0.1:1"
        max_promotions = 3
        default_source = "Dev"
        [oidc]
        issuer_url = "https://file.example.com"
        audience = "file"
        allowed_groups = ["a", "b"]
        [environments.Prod_EU]
        allowed_groups = ["prod"]
        promote_from = ["Int"]
        allow_replace = true
        [environments.prod_eu.image]
        registry = "r.example.com"
        [plugins]
        disabled = ["x"]
        [plugins.image]
        ecr_region = "eu-west-1"
        [notifiers.slack]
        webhook_url = "https://hooks.example.com"
        """.replace("prod_eu.image", "Prod_EU.image")
    )
    return path


def test_flag_over_variable_over_file_over_built_in(file: Path) -> None:
    settings = load_settings(
        config=file,
        environ={"IMGCTL_MAX_PROMOTIONS": "5", "IMGCTL_BIND_ADDRESS": "127.0.0.1:2"},
        flags={"server.bind_address": "127.0.0.1:3", "server.tls_cert": None},
    )
    assert settings.server.bind_address == "127.0.0.1:3"
    assert settings.server.max_promotions == 5
    assert settings.server.default_source == "dev"
    assert settings.server.insecure_plaintext is False
    assert settings.oidc.allowed_groups == ("a", "b")
    assert settings.origins["server.bind_address"] == "flag"
    assert settings.origins["server.max_promotions"] == "variable IMGCTL_MAX_PROMOTIONS"
    assert settings.origins["server.default_source"] == f"file {file}"
    assert settings.origins["server.insecure_plaintext"] == "built-in"


def test_the_file_has_what_needs_more_than_one_value(file: Path) -> None:
    settings = load_settings(environ={"IMGCTL_CONFIG": str(file)})
    prod = settings.environments["prod-eu"]
    assert (prod.allowed_groups, prod.promote_from, prod.allow_replace) == (
        ("prod",),
        ("int",),
        True,
    )
    assert prod.endpoints == {"image": {"registry": "r.example.com"}}
    assert settings.plugins.disabled == ("x",)
    assert settings.plugins.tables == {"image": {"ecr_region": "eu-west-1"}}
    assert set(settings.notifiers) == {"slack"}


def test_rules_come_in_their_order_with_names_as_we_write_them(tmp_path: Path) -> None:
    path = tmp_path / "imgctl.toml"
    path.write_text(
        """
        [[rules]]
        kinds = ["spa"]
        artifacts = ["shop", "blog-*"]
        sources = ["Int"]
        destinations = ["Prod_EU"]
        groups = ["Web"]
        [[rules]]
        destinations = ["int"]
        """
    )
    first, second = load_settings(config=path, environ=OIDC).rules
    assert (first.kinds, first.artifacts) == (("spa",), ("shop", "blog-*"))
    assert (first.sources, first.destinations, first.groups) == (("int",), ("prod-eu",), ("Web",))
    assert second == Rule(destinations=("int",))


def test_lists_in_variables_are_comma_separated_and_trimmed() -> None:
    settings = load_settings(environ={**OIDC, "OIDC_ALLOWED_GROUPS": " a , b,,c "})
    assert settings.oidc.allowed_groups == ("a", "b", "c")
    assert settings.warnings == ()


def test_the_default_group_is_warned_about() -> None:
    settings = load_settings(environ=OIDC)
    assert settings.oidc.allowed_groups == (DEFAULT_GROUP,)
    assert DEFAULT_GROUP in settings.warnings[0]


def test_a_variable_that_is_nearly_a_settings_is_warned_about() -> None:
    environ = {
        **OIDC,
        "OIDC_ALLOWED_GROUPS": "a",
        "OIDC_ALOWED_CONNECTORS": "ssh",
        "IMGCTL_AUDIT_REQIRED": "syslog",
        # Somebody else's: a plugin's, the client's, nobody's.
        "IMGCTL_REGISTRY_DEV": "http://127.0.0.1:1",
        "IMGCTL_AUDIENCE": "x",
        "IMGCTL_SERVER": "localhost:1",
        "AUDIT_REQUIRED": "x",
    }
    assert load_settings(environ=environ).warnings == (
        "the variable IMGCTL_AUDIT_REQIRED sets nothing; did you mean IMGCTL_AUDIT_REQUIRED?",
        "the variable OIDC_ALOWED_CONNECTORS sets nothing; did you mean OIDC_ALLOWED_CONNECTORS?",
    )


def test_a_settings_file_that_everybody_may_write_is_warned_about(file: Path) -> None:
    file.chmod(0o664)
    environ = {**OIDC, "OIDC_ALLOWED_GROUPS": "a"}
    assert load_settings(config=file, environ=environ).warnings == ()
    file.chmod(0o666)
    (warning,) = load_settings(config=file, environ=environ).warnings
    assert warning == f"everybody may write to the settings file: chmod 600 {file}"


def test_an_empty_variable_is_an_unset_one(file: Path) -> None:
    settings = load_settings(config=file, environ={"IMGCTL_MAX_PROMOTIONS": "", **OIDC})
    assert settings.server.max_promotions == 3
    assert settings.oidc.audience == OIDC["OIDC_AUDIENCE"]


def test_secrets_in_variables_are_not_shown() -> None:
    settings = load_settings(environ={**OIDC, "IMGCTL_SLACK_WEBHOOK_URL": "https://secret"})
    assert settings.variables["IMGCTL_SLACK_WEBHOOK_URL"] == "https://secret"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"OIDC_AUDIENCE": "x"}, "OIDC_ISSUER_URL"),
        ({"OIDC_ISSUER_URL": "https://x"}, "OIDC_AUDIENCE"),
        ({**OIDC, "OIDC_ALLOWED_GROUPS": ""}, "OIDC_ALLOWED_GROUPS"),
        ({**OIDC, "OIDC_ALLOWED_GROUPS": " , "}, "OIDC_ALLOWED_GROUPS"),
        ({**OIDC, "OIDC_ALLOWED_CONNECTORS": ","}, "OIDC_ALLOWED_CONNECTORS"),
        ({**OIDC, "OIDC_ISSUER_URL": "http://dex.example.com"}, "OIDC_ISSUER_URL .*https://"),
        ({**OIDC, "OIDC_ISSUER_URL": "https://dex.example.com:port"}, "OIDC_ISSUER_URL .*no addr"),
        ({**OIDC, "OIDC_ISSUER_URL": "https://dex.example.com/?a"}, "OIDC_ISSUER_URL .*a query"),
        ({**OIDC, "OIDC_JWKS_URI": "http://dex.dex.svc/keys"}, "OIDC_JWKS_URI .*https://"),
        ({**OIDC, "OIDC_JWKS_URI": "https://a:b@dex/keys"}, "OIDC_JWKS_URI .*credentials"),
        ({**OIDC, "IMGCTL_MAX_PROMOTIONS": "many"}, "IMGCTL_MAX_PROMOTIONS"),
        ({**OIDC, "IMGCTL_TLS_CERT": "/cert"}, "tls_key"),
        ({**OIDC, "IMGCTL_TLS_CLIENT_CA": "/ca"}, "tls_client_ca"),
        ({**OIDC, "IMGCTL_CONFIG": "/nowhere.toml"}, "can't be read"),
    ],
)
def test_a_wrong_value_is_named_by_its_variable(environ: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidSetting, match=text):
        load_settings(environ=environ)


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("[servr]", r"unknown table \[servr\]", "'server'"),
        ("[server]\nmax_promotion = 1", "'max_promotion'", "'max_promotions'"),
        ("[environments.p]\nallow_replaced = true", "'allow_replaced'", "'allow_replace'"),
        ("[environments.a_b]\n[environments.A-B]", "there already", "one"),
        ("[environments.p]\nallowed_groups = ['']", "allowed_groups.*empty name", ""),
        ("[environments.p]\npromote_from = [' ']", "promote_from.*empty name", ""),
        ("[oidc]\nallowed_groups = ['a', '']", "OIDC_ALLOWED_GROUPS.*empty name", ""),
        ("[environments.p]\npromote_from = 'int'", "promote_from: must be a list", ""),
        ("[environments.p]\nallow_replace = 'x'", "allow_replace: must be true or false", ""),
        ("[[rules]]\nkind = ['spa']", "rule 1 .*unknown key 'kind'", "'kinds'"),
        ("[[rules]]\ngroups = ['a']\n[[rules]]\ngroup = ['a']", "rule 2 .*'group'", "'groups'"),
        ("[[rules]]\ngroups = []", "rule 1 .*groups is set but empty", ""),
        ("[[rules]]\ngroups = ['a', ' ']", "rule 1 .*groups has an empty name", ""),
        ("[[rules]]\nkinds = 'spa'", "rule 1 .*: kinds must be a list", ""),
        ("[[rules]]\nkinds = [1]", "rule 1 .*: kinds must be a text", ""),
        ("[[rules]]\nartifacts = ['*', '!secret/*']", "rule 1 .*artifacts .*only ever allow", ""),
        ("[[rules]]", "file says nothing", ""),
        ("[rules]\ngroups = ['a']", "tables of a list", r"[[rules]]"),
        ("rules = 1", "tables of a list", r"[[rules]]"),
        ("server = 1", r"\[server\]", ""),
        ("[server", "no TOML", ""),
    ],
)
def test_a_wrong_file_is_named_by_its_key(
    tmp_path: Path, text: str, message: str, fix: str
) -> None:
    path = tmp_path / "imgctl.toml"
    path.write_text(text)
    with pytest.raises(InvalidSetting, match=message) as caught:
        load_settings(config=path, environ=OIDC)
    assert fix in caught.value.fix


def test_a_wrong_value_is_never_repeated(tmp_path: Path) -> None:
    path = tmp_path / "imgctl.toml"
    path.write_text('[server]\nmax_promotions = "hunter2"')
    with pytest.raises(InvalidSetting) as caught:
        load_settings(config=path, environ=OIDC)
    assert "hunter2" not in str(caught.value) + caught.value.fix
