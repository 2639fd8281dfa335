"""Finding, loading, quarantining and configuring plugins."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.errors import InvalidSetting
from imgctl_core.models import PluginStatus
from imgctl_core.plugins.configure import make_notifiers, make_promoters
from imgctl_core.plugins.finder import FoundPlugin, find_plugins
from imgctl_core.plugins.loader import load_plugins
from imgctl_core.plugins.registry import PluginRegistry, build_registry
from imgctl_core.settings import load_settings

Install = Callable[..., None]
Find = Callable[[], tuple[FoundPlugin, ...]]

NOTIFIER = """
from imgctl_core import Notifier, PluginModel, hookimpl
from pydantic import SecretStr

class Settings(PluginModel):
    url: SecretStr
    channel: str = "general"

class PagerNotifier(Notifier[Settings]):
    kind = "pager"
    variables = {"url": "IMGCTL_PAGER_URL"}
    Settings = Settings
    def notify(self, event, context): pass

@hookimpl
def imgctl_notifiers():
    return [PagerNotifier]
"""


@pytest.fixture
def load(find: Find) -> Callable[..., PluginRegistry]:
    def load(required: tuple[str, ...] = (), **more: Any) -> PluginRegistry:
        return build_registry(load_plugins(find(), **more), required=required)

    return load


def test_an_installed_plugin_is_found_and_loaded(
    install: Install, load: Callable[..., PluginRegistry], promoter_source: str
) -> None:
    install(promoter_source)
    registry = load()
    assert set(registry.promoters) == {"note"}
    (info,) = registry.infos
    assert (info.name, info.distribution, info.version) == ("note", "imgctl-note", "1.5")
    assert (info.status, info.promoters) == (PluginStatus.ACTIVE, ("note",))


def test_finding_imports_nothing(install: Install, find: Find) -> None:
    install("raise RuntimeError", module="fake_never")
    assert [plugin.name for plugin in find()] == ["note"]
    assert "fake_never" not in sys.modules


def test_a_distribution_that_stands_on_the_path_twice_counts_once(
    install: Install, site: Path, promoter_source: str
) -> None:
    install(promoter_source)
    assert len(find_plugins(distributions(path=[str(site), str(site)]))) == 1


BROKEN = [
    pytest.param(
        "raise RuntimeError('boom')",
        "import",
        "RuntimeError; the server's log",
        id="raises on import",
    ),
    pytest.param("import sys; sys.exit(3)", "import", "SystemExit", id="exits on import"),
    pytest.param("def (", "import", "SyntaxError", id="no Python"),
    pytest.param("import fake_missing", "import", "fake_missing", id="lacks a dependency"),
    pytest.param(
        """
        from imgctl_core import hookimpl
        @hookimpl
        def imgctl_promoterz(): return []
        """,
        "register",
        "imgctl_promoterz",
        id="misspells a hook",
    ),
    pytest.param(
        """
        from imgctl_core import hookimpl
        @hookimpl
        def imgctl_promoters(registry): return []
        """,
        "register",
        "registry",
        id="wants an argument we don't have",
    ),
    pytest.param(
        """
        from imgctl_core import hookimpl
        @hookimpl
        def imgctl_promoters():
            yield object
            raise KeyError("late")
        """,
        "register",
        "KeyError; the server's log says more",
        id="raises while it is read",
    ),
    pytest.param(
        """
        from imgctl_core import hookimpl
        @hookimpl
        def imgctl_promoters(): return [dict]
        """,
        "classify",
        "no subclass",
        id="registers something else",
    ),
]


@pytest.mark.parametrize(("source", "phase", "text"), BROKEN)
def test_a_broken_plugin_is_quarantined_and_the_others_work(
    install: Install,
    load: Callable[..., PluginRegistry],
    promoter_source: str,
    source: str,
    phase: str,
    text: str,
) -> None:
    install(source, module="fake_broken", dist="a-broken", name="broken")
    install(promoter_source)
    registry = load()
    assert set(registry.promoters) == {"note"}
    info = registry.out_of_use("broken")
    assert info is not None
    assert (info.status, info.phase) == (PluginStatus.QUARANTINED, phase)
    assert text in info.error
    # What a plugin says of its own may be a secret; callers don't hear it.
    assert not re.search(r"boom|late\b", info.error)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("    def verify(self, plan, context): return plan.digest\n", "", "verify"),
        ('kind = "note"', 'kind = "Note!"', "kind"),
        ('kind = "note"', 'kind = "note"; api_version = (2, 0)', "interface"),
        ('kind = "note"', 'kind = "note"; api_version = (1, 9)', "interface"),
        ('family = "NOTE"', 'family = "DEFAULT"', "reserved"),
        ('family = "NOTE"', 'family = "no_te"', "family"),
        ('family_field = "path"', 'family_field = "pth"', "pth"),
        ("Endpoint = Place", "Endpoint = dict", "Endpoint"),
        ('kind = "note"', 'kind = "note"; variables = {"x": "IMGCTL_X"}', "'x'"),
    ],
)
def test_an_unfit_promoter_is_quarantined_with_the_reason(
    install: Install,
    load: Callable[..., PluginRegistry],
    promoter_source: str,
    old: str,
    new: str,
    text: str,
) -> None:
    assert old in promoter_source
    install(promoter_source.replace(old, new))
    registry = load()
    assert registry.promoters == {}
    assert registry.infos[0].phase == "classify"
    assert text in registry.infos[0].error


def test_what_is_not_allowed_is_never_imported(
    install: Install, load: Callable[..., PluginRegistry], promoter_source: str
) -> None:
    install("raise RuntimeError", module="fake_never", dist="imgctl-never", name="never")
    install(promoter_source)
    for more in ({"allowed": ["note"]}, {"disabled": ["imgctl-never"]}):
        registry = load(**more)
        assert set(registry.promoters) == {"note"}
        info = registry.out_of_use("never")
        assert info is not None
        assert info.status is PluginStatus.DISABLED
    assert "fake_never" not in sys.modules


def test_two_plugins_of_one_kind_name_both_distributions(
    install: Install, load: Callable[..., PluginRegistry], promoter_source: str
) -> None:
    install(promoter_source)
    install(promoter_source, module="fake_other", dist="acme-note", name="acme")
    with pytest.raises(InvalidSetting, match=r"acme-note 1\.5 and imgctl-note 1\.5"):
        load()


def test_a_required_plugin_must_be_there_and_work(
    install: Install, load: Callable[..., PluginRegistry], promoter_source: str
) -> None:
    with pytest.raises(InvalidSetting, match="'note' is not installed"):
        load(required=("note",))
    install(promoter_source)
    assert load(required=("note",)).promoters
    assert load(required=("imgctl-note",)).promoters
    with pytest.raises(InvalidSetting, match="disabled"):
        load(required=("note",), disabled=["note"])


OIDC = {"OIDC_ISSUER_URL": "https://dex.example.com", "OIDC_AUDIENCE": "https://imgctl"}


def _settings(tmp_path: Path, text: str = "", **environ: str) -> Any:
    path = tmp_path / "imgctl.toml"
    path.write_text(text)
    return load_settings(config=path, environ={**OIDC, **environ})


def test_endpoints_come_from_the_family_and_the_file(
    install: Install,
    load: Callable[..., PluginRegistry],
    promoter_source: str,
    tmp_path: Path,
) -> None:
    install(promoter_source)
    settings = _settings(
        tmp_path,
        '[environments.dev.note]\npath = "/file"\n[environments.int.note]\npath = "/int"\n',
        IMGCTL_NOTE_DEV="/variable",
        IMGCTL_NOTE_PROD_EU="/prod",
        IMGCTL_NOTEBOOK_X="/not ours",
    )
    promoter = make_promoters(load(), settings)["note"]
    assert {name: place.path for name, place in promoter.endpoints.items()} == {
        "dev": "/variable",
        "int": "/int",
        "prod-eu": "/prod",
    }


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("[environments.dev.note]\npth = 1", r"environments\.dev\.note.*'pth'", "'path'"),
        ("[environments.dev.note]", "'path'", ""),
        ("[environments.dev.note]\npath = 1", r"environments\.dev\.note\]: path", ""),
        ("[environments.dev.nte]\npath = '/x'", "'nte'", "'note'"),
        ("[plugins.note]\nx = 1", "'x'", ""),
        ("[plugins.nte]\nx = 1", "'nte'", "'note'"),
        ("[notifiers.ops]\nkind = 'pagr'", "'pagr'", "'pager'"),
        ("[notifiers.pager]\nurl = 'x'\nchanel = 'y'", "'chanel'", "'channel'"),
    ],
)
def test_a_wrong_table_of_a_plugin_is_named(
    install: Install,
    load: Callable[..., PluginRegistry],
    promoter_source: str,
    tmp_path: Path,
    text: str,
    message: str,
    fix: str,
) -> None:
    install(promoter_source)
    install(NOTIFIER, module="fake_pager", dist="imgctl-pager", name="pager")
    registry, settings = load(), _settings(tmp_path, text)
    with pytest.raises(InvalidSetting, match=message) as caught:
        _ = make_promoters(registry, settings), make_notifiers(registry, settings)
    assert fix in caught.value.fix


def test_the_table_of_a_quarantined_plugin_is_no_mistake(
    install: Install, load: Callable[..., PluginRegistry], tmp_path: Path
) -> None:
    install("raise RuntimeError", module="fake_broken")
    settings = _settings(tmp_path, "[environments.dev.note]\npath = '/x'\n[notifiers.note]")
    registry = load()
    assert make_promoters(registry, settings) == {}
    assert make_notifiers(registry, settings) == {}


def test_a_notifier_comes_from_its_variable_or_its_table(
    install: Install, load: Callable[..., PluginRegistry], tmp_path: Path
) -> None:
    install(NOTIFIER, module="fake_pager", dist="imgctl-pager", name="pager")
    registry = load()
    assert make_notifiers(registry, _settings(tmp_path)) == {}
    secret = tmp_path / "secret"
    secret.write_text("https://from-file\n")
    both = make_notifiers(
        registry,
        _settings(
            tmp_path,
            "[notifiers.pager]\nchannel = 'a'\n[notifiers.ops]\nkind = 'pager'\nurl = 'https://o'",
            IMGCTL_PAGER_URL="https://variable",
        ),
    )
    shown = {
        name: (made.settings.url.get_secret_value(), made.settings.channel)
        for name, made in both.items()
    }
    assert shown == {"pager": ("https://variable", "a"), "ops": ("https://o", "general")}
    filed = make_notifiers(registry, _settings(tmp_path, IMGCTL_PAGER_URL_FILE=str(secret)))
    assert filed["pager"].settings.url.get_secret_value() == "https://from-file"
    with pytest.raises(InvalidSetting, match="IMGCTL_PAGER_URL_FILE"):
        make_notifiers(registry, _settings(tmp_path, IMGCTL_PAGER_URL_FILE="/nowhere"))
