"""The typed Python client: login, channel and calls.

Names are resolved on first use (PEP 562): a command that only calls must not pay for
what a login imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgctl_core.client.api import Client
    from imgctl_core.client.login import LoginSettings, Token, explain_refusal, login
    from imgctl_core.client.target import Target, default_audience

__all__ = [
    "Client",
    "LoginSettings",
    "Target",
    "Token",
    "default_audience",
    "explain_refusal",
    "login",
]

_HOME = {
    "Client": "api",
    "LoginSettings": "login",
    "Target": "target",
    "Token": "login",
    "default_audience": "target",
    "explain_refusal": "login",
    "login": "login",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    # Importing a submodule binds its name here: `login` must stay the function.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
