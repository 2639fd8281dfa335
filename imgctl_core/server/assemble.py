"""From settings to the parts of a running server, wired together."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from imgctl_core._version import __version__
from imgctl_core.audit import AuditLog
from imgctl_core.audit.copies import Copy
from imgctl_core.audit.sinks import StandardOutput, Syslog, SyslogAddress
from imgctl_core.auth.freshness import Freshness
from imgctl_core.auth.jwks import JwksCache
from imgctl_core.auth.policy import EnvironmentRules, Policy
from imgctl_core.auth.tokens import JoseTokenVerifier
from imgctl_core.catalogue import Catalogue
from imgctl_core.engine import Engine
from imgctl_core.errors import AuditUnavailable, InvalidSetting
from imgctl_core.journal import Journal
from imgctl_core.models import JSON
from imgctl_core.notifier import Notifier
from imgctl_core.notify import Notifications
from imgctl_core.plugins.configure import make_notifiers, make_promoters
from imgctl_core.plugins.registry import PluginRegistry, load_registry
from imgctl_core.promoter import Promoter
from imgctl_core.resolve import Resolver
from imgctl_core.server.crosscheck import check_names
from imgctl_core.settings import ServerSettings
from imgctl_core.store import MemoryStore

_LOG = logging.getLogger("imgctl.server")


@dataclass(frozen=True)
class Plugins:
    """The plugins, loaded and configured. Nothing of the network or the disk is touched."""

    registry: PluginRegistry
    promoters: Mapping[str, Promoter[Any, Any]]
    notifiers: Mapping[str, Notifier[Any]]
    environments: tuple[str, ...]


@dataclass(frozen=True)
class Assembly:
    """The parts of a server, wired together and not yet listening."""

    engine: Engine
    catalogue: Catalogue
    journal: Journal
    policy: Policy
    verifier: JoseTokenVerifier
    keys: JwksCache
    audit: AuditLog
    promoters: Mapping[str, Promoter[Any, Any]]

    def close(self) -> None:
        """Give everything back, after the engine was drained."""
        self.keys.close()
        for kind, promoter in self.promoters.items():
            try:
                promoter.close()
            except Exception:  # noqa: BLE001 - a plugin's bug must not keep the log open
                _LOG.exception("promoter %s failed to close", kind)
        self.journal.stopped()
        self.audit.close()


def configure_plugins(settings: ServerSettings) -> Plugins:
    """Load the plugins and check every setting that concerns them.

    Raises:
        InvalidSetting: a plugin's table, key or variable is wrong, two plugins are of
            one kind, or there is no endpoint at all.
    """
    registry = load_registry(settings.plugins)
    promoters = make_promoters(registry, settings)
    notifiers = make_notifiers(registry, settings)
    endpoints = {name for promoter in promoters.values() for name in promoter.endpoints}
    if not endpoints:
        raise InvalidSetting(
            "no environment has an endpoint, so there is nothing to promote between",
            fix="set IMGCTL_REGISTRY_<NAME> or IMGCTL_SPA_<NAME> for two environments at least",
        )
    check_names(settings, registry, endpoints)
    environments = tuple(sorted({*settings.environments, *endpoints}))
    return Plugins(registry, promoters, notifiers, environments)


def assemble(settings: ServerSettings, plugins: Plugins) -> Assembly:
    """Wire a server together and record its start in the audit log.

    Raises:
        InvalidSetting: a setting can't be used.
        AuditUnavailable: the audit log can't be written.
    """
    oidc, environments = settings.oidc, settings.environments
    policy = Policy(
        allowed_groups=oidc.allowed_groups,
        environments={
            name: EnvironmentRules(table.allowed_groups, table.promote_from, table.allow_replace)
            for name, table in environments.items()
        },
        rules=settings.rules,
    )
    freshness = Freshness(stale=oidc.keys_max_stale)
    keys = JwksCache(oidc.issuer_url, oidc.jwks_uri, freshness=freshness)
    verifier = JoseTokenVerifier(
        issuer=oidc.issuer_url,
        audience=oidc.audience,
        keys=keys,
        allowed_connectors=oidc.allowed_connectors,
        max_lifetime=oidc.max_token_lifetime,
        authorized_parties=oidc.authorized_parties,
    )
    allow_replace = frozenset(name for name, t in environments.items() if t.allow_replace)
    audit = open_audit_log(settings)
    journal = Journal(audit)
    resolver = Resolver(
        plugins.promoters,
        plugins.registry,
        environments=plugins.environments,
        allow_replace=allow_replace,
        default_source=settings.server.default_source,
    )
    engine = Engine(
        resolver,
        policy,
        journal,
        Notifications(plugins.notifiers),
        MemoryStore(),
        max_promotions=settings.server.max_promotions,
        promotion_seconds=settings.server.promotion_timeout,
    )
    catalogue = Catalogue(
        plugins.promoters,
        plugins.registry.infos,
        policy,
        resolver,
        environments=plugins.environments,
        default_source=settings.server.default_source,
    )
    try:
        journal.started(_started_fields(settings, plugins))
    except AuditUnavailable:
        audit.close()
        raise
    return Assembly(engine, catalogue, journal, policy, verifier, keys, audit, plugins.promoters)


def open_audit_log(settings: ServerSettings) -> AuditLog:
    """Open the audit log and begin its copies.

    Raises:
        AuditUnavailable: it can't be written, or another process writes it.
    """
    table, copies = settings.audit, []
    if table.stdout:
        required = "stdout" in table.required
        copies.append(Copy("stdout", StandardOutput(), required=required))
    if table.syslog:
        address = SyslogAddress.parse(table.syslog)
        required = "syslog" in table.required
        sink = Syslog(address, table.syslog_facility)
        copies.append(Copy(str(address), sink, required=required))
    try:
        return AuditLog(settings.server.audit_log, max_bytes=table.max_bytes, copies=copies)
    except AuditUnavailable:
        for copy in copies:
            copy.close(0)
        raise


def _started_fields(settings: ServerSettings, plugins: Plugins) -> dict[str, JSON]:
    return {
        "version": __version__,
        "settings_sha256": _fingerprint(settings, plugins),
        "bind_address": settings.server.bind_address,
        "plugins": _plugin_fields(plugins),
        "environments": list(plugins.environments),
        "endpoints": _endpoint_fields(plugins),
    }


def _fingerprint(settings: ServerSettings, plugins: Plugins) -> str:
    """Return a hash that changes when the settings do. No secret goes into it.

    What belongs to plugins comes in as they understood it: secrets are masked in there.
    """
    raw = ("plugins", "notifiers", "variables", "origins", "warnings")
    understood = {
        **{f.name: getattr(settings, f.name) for f in fields(settings) if f.name not in raw},
        "endpoints": {kind: dict(p.endpoints) for kind, p in plugins.promoters.items()},
        "notifiers": sorted(plugins.notifiers),
    }
    text = json.dumps(understood, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude={"endpoints"})
    if is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return sorted(map(str, value)) if isinstance(value, AbstractSet) else str(value)


def _endpoint_fields(plugins: Plugins) -> dict[str, JSON]:
    """Return what the names of environments meant, by kind, as people are shown it."""
    return {
        kind: {name: _address(promoter, name) for name in promoter.endpoints}
        for kind, promoter in plugins.promoters.items()
    }


def _address(promoter: Promoter[Any, Any], environment: str) -> str:
    try:
        return promoter.describe(promoter.endpoints[environment])
    except Exception:  # noqa: BLE001 - a plugin's bug must not keep the server from starting
        _LOG.exception("promoter %s can't describe its endpoint of %s", promoter.kind, environment)
        return ""


def _plugin_fields(plugins: Plugins) -> list[JSON]:
    return [
        {
            "name": info.name,
            "distribution": info.distribution,
            "version": info.version,
            "status": info.status.value,
        }
        for info in plugins.registry.infos
    ]
