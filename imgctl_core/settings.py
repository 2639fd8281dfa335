"""The server's settings, and where each value came from.

Highest first: flag, environment variable, TOML file, built-in. The tables below are the
tables of the file; a table's variables are its prefix and the field's name in capitals.
What belongs to a plugin (an environment's endpoints, a plugin's own table) stays raw
here: `imgctl_core.plugins.configure` validates it by the plugin's own models.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from imgctl_core.audit import default_audit_log
from imgctl_core.auth.addresses import parse_address, parse_issuer
from imgctl_core.errors import InvalidSetting
from imgctl_core.layers import Layers, Table, Words
from imgctl_core.names import canonical_name
from imgctl_core.problems import Problem, most_telling
from imgctl_core.rules import Rule, read_rules
from imgctl_core.suggest import nearest
from imgctl_core.tables import AuditTable, LimitsTable
from imgctl_core.wirelimits import MAX_TOKEN_LIFETIME

#: The original tool's default. Nobody real is in it, so it lets nobody in.
DEFAULT_GROUP = "engineering@example.com"

_TABLES = (
    "server",
    "oidc",
    "audit",
    "limits",
    "environments",
    "rules",
    "plugins",
    "notifiers",
)


def _named(names: tuple[str, ...]) -> tuple[str, ...]:
    if not all(name.strip() for name in names):
        raise ValueError("has an empty name in it")
    return names


_TableT = TypeVar("_TableT", bound=Table)


class ServerTable(Table):
    """`[server]`: the process itself."""

    prefix = "IMGCTL_"

    bind_address: str = "127.0.0.1:9999"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    insecure_plaintext: bool = False
    default_source: str = ""
    audit_log: Path = Field(default_factory=default_audit_log)
    max_promotions: int = Field(default=8, ge=1, le=1000)
    #: Seconds until one must be published.
    promotion_timeout: int = Field(default=6 * 3600, ge=60)

    @field_validator("default_source")
    @classmethod
    def _canonical(cls, value: str) -> str:
        return canonical_name(value)

    @model_validator(mode="after")
    def _tls_pair(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: set both or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        return self


class OidcTable(Table):
    """`[oidc]`: who vouches for people, and which of them may come in."""

    prefix = "OIDC_"
    empty_counts = frozenset({"allowed_groups"})

    issuer_url: str
    jwks_uri: str = ""
    audience: str = Field(min_length=1)
    allowed_groups: Words = (DEFAULT_GROUP,)
    allowed_connectors: Words = ("ssh",)
    authorized_parties: Words = ()
    max_token_lifetime: int = Field(default=MAX_TOKEN_LIFETIME, ge=60)
    keys_max_stale: int = Field(default=3600, ge=0, le=24 * 3600)

    @field_validator("issuer_url")
    @classmethod
    def _issuer(cls, value: str) -> str:
        parse_issuer(value)
        return value

    @field_validator("jwks_uri")
    @classmethod
    def _keys(cls, value: str) -> str:
        if value:
            parse_address(value)
        return value

    @field_validator("allowed_groups", "allowed_connectors")
    @classmethod
    def _somebody(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("is set but empty, so nobody could come in; name at least one")
        return _named(value)


class PluginsTable(Table):
    """`[plugins]`: which plugins are loaded, and their own tables by kind."""

    prefix = "IMGCTL_PLUGINS_"

    allowed: Words | None = None
    disabled: Words = ()
    required: Words = ()
    tables: Mapping[str, Mapping[str, object]] = Field(default_factory=dict)


#: The tables whose every key has a variable, too.
WITH_VARIABLES: Mapping[str, type[Table]] = {
    "server": ServerTable,
    "oidc": OidcTable,
    "audit": AuditTable,
    "limits": LimitsTable,
    "plugins": PluginsTable,
}


class EnvironmentTable(Table):
    """`[environments.<name>]`: what is true of the place, and its endpoints by kind."""

    prefix = "IMGCTL_ENVIRONMENTS_"

    allowed_groups: tuple[str, ...] | None = None
    promote_from: tuple[str, ...] | None = None
    allow_replace: bool = False
    endpoints: Mapping[str, Mapping[str, object]] = Field(default_factory=dict)

    @field_validator("allowed_groups")
    @classmethod
    def _groups(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else _named(value)

    @field_validator("promote_from")
    @classmethod
    def _sources(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else _named(tuple(map(canonical_name, value)))


@dataclass(frozen=True)
class ServerSettings:
    """Everything the server was told.

    `variables` holds the IMGCTL_ variables, in which plugins find their endpoints and
    settings (they may be secret: never shown). `origins` says where each value of the
    tables came from, by dotted key.
    """

    server: ServerTable
    oidc: OidcTable
    audit: AuditTable
    limits: LimitsTable
    environments: Mapping[str, EnvironmentTable]
    plugins: PluginsTable
    notifiers: Mapping[str, Mapping[str, object]]
    rules: tuple[Rule, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    origins: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def load_settings(
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> ServerSettings:
    """Read the server's settings.

    Args:
        config: the TOML file; by default what `IMGCTL_CONFIG` names, or none.
        environ: environment variables; by default the process's own.
        flags: values by dotted key (`server.bind_address`); None is "not given".

    Raises:
        InvalidSetting: a value is wrong or missing, or a key of the file is unknown.
    """
    variables = os.environ if environ is None else environ
    path = config or (Path(text) if (text := variables.get("IMGCTL_CONFIG")) else None)
    file = _read_file(path) if path else {}
    given = {key: value for key, value in (flags or {}).items() if value is not None}

    def layers(table: str) -> Layers:
        prefix = f"{table}."
        own = {k.removeprefix(prefix): v for k, v in given.items() if k.startswith(prefix)}
        return Layers(own, variables, _table(file, table))

    plugins = layers("plugins")
    all_layers = {
        "server": layers("server"),
        "oidc": layers("oidc"),
        "audit": layers("audit"),
        "limits": layers("limits"),
        "plugins": Layers(plugins.flags, variables, _nested(plugins.file, "tables")),
    }
    server = _build(ServerTable, all_layers["server"], "server")
    oidc = _build(OidcTable, all_layers["oidc"], "oidc")
    audit = _build(AuditTable, all_layers["audit"], "audit")
    limits = _build(LimitsTable, all_layers["limits"], "limits")
    plugin_table = _build(PluginsTable, all_layers["plugins"], "plugins")
    origins = {
        f"{table}.{name}": _origin(cls, name, all_layers[table], path)
        for table, cls in WITH_VARIABLES.items()
        for name in cls.model_fields
    }
    warnings = []
    if origins["oidc.allowed_groups"] == "built-in":
        warnings.append(
            f"OIDC_ALLOWED_GROUPS is not set: only members of {DEFAULT_GROUP} may come in"
        )
    if path and path.stat().st_mode & stat.S_IWOTH:
        warnings.append(f"everybody may write to the settings file: chmod 600 {path}")
    warnings += _misspelt(variables)
    return ServerSettings(
        server,
        oidc,
        audit,
        limits,
        _environments(_table(file, "environments")),
        plugin_table,
        {name: _as_table(t, f"notifiers.{name}") for name, t in _table(file, "notifiers").items()},
        read_rules(file.get("rules", [])),
        {k: v for k, v in variables.items() if k.startswith("IMGCTL_") and v},
        origins,
        tuple(warnings),
    )


def load_audit_log(config: Path, environ: Mapping[str, str] | None = None) -> Path:
    """Return where the settings say that the audit log lies.

    Nothing else of them is looked at: what only the server's process has may be missing.

    Raises:
        InvalidSetting: the file can't be read, or says nothing that is a path.
    """
    variables = os.environ if environ is None else environ
    table = _table(_read_file(config), "server")
    name = "audit_log"
    only = Layers(
        {},
        {key: value for key, value in variables.items() if key == ServerTable.variable(name)},
        {key: value for key, value in table.items() if key == name},
    )
    return _build(ServerTable, only, "server").audit_log


def _misspelt(variables: Mapping[str, str]) -> list[str]:
    """Return warnings about variables that are nearly, and so not, a setting's."""
    known = [cls.variable(name) for cls in WITH_VARIABLES.values() for name in cls.model_fields]
    ours = [name for name in variables.keys() - known if name.startswith(("IMGCTL_", "OIDC_"))]
    # Nothing farther off: there are plugins' variables, and the client's.
    near = {name: get_close_matches(name, known, 1, 0.9) for name in sorted(ours)}
    return [
        f"the variable {name} sets nothing; did you mean {found[0]}?"
        for name, found in near.items()
        if found
    ]


def _read_file(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as stream:
            file = tomllib.load(stream)
    except OSError as error:
        raise InvalidSetting(
            f"the settings file {path} can't be read: {error.strerror}",
            fix="check --config or IMGCTL_CONFIG",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"the settings file {path} is no TOML: {error}") from error
    for name in file:
        if name not in _TABLES:
            raise InvalidSetting(
                f"the settings file {path} has an unknown table [{name}]",
                fix=nearest(name, _TABLES),
            )
    return file


def _table(file: Mapping[str, object], name: str) -> Mapping[str, object]:
    return _as_table(file.get(name, {}), name)


def _as_table(value: object, key: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidSetting(f"[{key}] in the settings file must be a table")
    return value


def _nested(table: Mapping[str, object], field_name: str) -> Mapping[str, object]:
    """Gather a table's sub-tables under one field: their names are not ours to know."""
    plain = {k: v for k, v in table.items() if not isinstance(v, Mapping)}
    return {**plain, field_name: {k: v for k, v in table.items() if isinstance(v, Mapping)}}


def _environments(tables: Mapping[str, object]) -> Mapping[str, EnvironmentTable]:
    found: dict[str, EnvironmentTable] = {}
    for name, raw in tables.items():
        key = f"environments.{name}"
        if canonical_name(name) in found:
            raise InvalidSetting(
                f"[{key}] in the settings file names an environment that is there already",
                fix="case does not matter, and `-` and `_` are one: keep one of the two",
            )
        layers = Layers({}, {}, _nested(_as_table(raw, key), "endpoints"))
        found[canonical_name(name)] = _build(EnvironmentTable, layers, key)
    return found


def _build(cls: type[_TableT], layers: Layers, key: str) -> _TableT:
    try:
        return cls.from_layers(layers)
    except ValidationError as error:
        raise _explain(most_telling(error), cls, key) from None


def _explain(problem: Problem, cls: type[Table], key: str) -> InvalidSetting:
    name = problem.name.partition(".")[0]
    if problem.unknown:
        return InvalidSetting(
            f"the settings file has an unknown key {name!r} in [{key}]",
            fix=nearest(name, cls.model_fields),
        )
    what = f"{key}.{name}" if name else f"[{key}]"
    if name and key in WITH_VARIABLES:
        what = f"{cls.variable(name)} ({what} in the settings file)"
    if problem.missing:
        return InvalidSetting(f"{what} is required", fix=f"set {cls.variable(name)}")
    return InvalidSetting(f"{what}: {problem.message}")


def _origin(cls: type[Table], name: str, layers: Layers, path: Path | None) -> str:
    if name in layers.flags:
        return "flag"
    variable = cls.variable(name)
    if layers.variables.get(variable) or (
        name in cls.empty_counts and variable in layers.variables
    ):
        return f"variable {variable}"
    return "built-in" if layers.file.get(name) in (None, {}) else f"file {path}"
