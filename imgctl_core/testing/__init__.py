"""The public kit for testing plugins, servers and clients.

The registry, the issuer and the proxy need neither pytest nor an extra; each of them is
also a program. `imgctl_core.testing.fixtures` is a pytest plugin: name it in your
conftest's `pytest_plugins`. Names are resolved on first use, so that a program pays for
what it uses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgctl_core.testing.activator_contract import ActivatorContract
    from imgctl_core.testing.contract import PromoterContract
    from imgctl_core.testing.ecr import EcrRegistry, Lag
    from imgctl_core.testing.fakes import (
        FakeActivator,
        FakeEndpoint,
        FakeMailbox,
        FakeNotifier,
        FakePlace,
        FakePromoter,
        FakeWorld,
    )
    from imgctl_core.testing.faultproxy import HttpFaultProxy
    from imgctl_core.testing.harness import ActivatorHarness, NotifierHarness, PromoterHarness
    from imgctl_core.testing.httpd import (
        Fault,
        Headers,
        HttpServer,
        Injected,
        Request,
        RequestRecord,
        Response,
    )
    from imgctl_core.testing.images import (
        SampleManifest,
        make_artifact,
        make_image,
        make_index,
        make_layer,
        sample_image,
    )
    from imgctl_core.testing.issuer import ABSENT, Connector, Issuer, SigningKey, User
    from imgctl_core.testing.notifier_contract import NotifierContract
    from imgctl_core.testing.peers import DockerRegistry, VersityGateway
    from imgctl_core.testing.proxy import FaultProxy, Line
    from imgctl_core.testing.recording import RecordingContext, SimulatedCrash, sample_event
    from imgctl_core.testing.registry import Registry
    from imgctl_core.testing.sites import Site, SiteFile, sample_site
    from imgctl_core.testing.ssh import SshAgent, SshKeyFiles, make_ssh_key
    from imgctl_core.testing.tls import TlsFiles, make_tls_files

_HOME = {
    "ABSENT": "issuer",
    "ActivatorContract": "activator_contract",
    "ActivatorHarness": "harness",
    "Connector": "issuer",
    "DockerRegistry": "peers",
    "EcrRegistry": "ecr",
    "FakeActivator": "fakes",
    "FakeEndpoint": "fakes",
    "FakeMailbox": "fakes",
    "FakeNotifier": "fakes",
    "FakePlace": "fakes",
    "FakePromoter": "fakes",
    "FakeWorld": "fakes",
    "Fault": "httpd",
    "FaultProxy": "proxy",
    "Headers": "httpd",
    "HttpFaultProxy": "faultproxy",
    "HttpServer": "httpd",
    "Injected": "httpd",
    "Issuer": "issuer",
    "Lag": "ecr",
    "Line": "proxy",
    "NotifierContract": "notifier_contract",
    "NotifierHarness": "harness",
    "PromoterContract": "contract",
    "PromoterHarness": "harness",
    "RecordingContext": "recording",
    "Registry": "registry",
    "Request": "httpd",
    "RequestRecord": "httpd",
    "Response": "httpd",
    "SampleManifest": "images",
    "SigningKey": "issuer",
    "SimulatedCrash": "recording",
    "Site": "sites",
    "SiteFile": "sites",
    "SshAgent": "ssh",
    "SshKeyFiles": "ssh",
    "TlsFiles": "tls",
    "User": "issuer",
    "VersityGateway": "peers",
    "make_artifact": "images",
    "make_image": "images",
    "make_index": "images",
    "make_layer": "images",
    "make_ssh_key": "ssh",
    "make_tls_files": "tls",
    "sample_event": "recording",
    "sample_image": "images",
    "sample_site": "sites",
}

__all__ = [
    "ABSENT",
    "ActivatorContract",
    "ActivatorHarness",
    "Connector",
    "DockerRegistry",
    "EcrRegistry",
    "FakeActivator",
    "FakeEndpoint",
    "FakeMailbox",
    "FakeNotifier",
    "FakePlace",
    "FakePromoter",
    "FakeWorld",
    "Fault",
    "FaultProxy",
    "Headers",
    "HttpFaultProxy",
    "HttpServer",
    "Injected",
    "Issuer",
    "Lag",
    "Line",
    "NotifierContract",
    "NotifierHarness",
    "PromoterContract",
    "PromoterHarness",
    "RecordingContext",
    "Registry",
    "Request",
    "RequestRecord",
    "Response",
    "SampleManifest",
    "SigningKey",
    "SimulatedCrash",
    "Site",
    "SiteFile",
    "SshAgent",
    "SshKeyFiles",
    "TlsFiles",
    "User",
    "VersityGateway",
    "make_artifact",
    "make_image",
    "make_index",
    "make_layer",
    "make_ssh_key",
    "make_tls_files",
    "sample_event",
    "sample_image",
    "sample_site",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
