from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings, parse_address
from imgctl_backends.image.promoter import ImagePromoter


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("registry.example.com", ("", "registry.example.com", None, "")),
        ("https://R.example.com:8443/", ("https", "r.example.com", 8443, "")),
        ("http://localhost:5000/team/apps", ("http", "localhost", 5000, "team/apps")),
        ("[::1]:5000/x", ("", "::1", 5000, "x")),
        ("docker.io/library", ("", "registry-1.docker.io", None, "library")),
    ],
)
def test_addresses_are_parsed(text: str, parts: tuple[object, ...]) -> None:
    address = parse_address(text)
    assert (address.scheme, address.host, address.port, address.prefix) == parts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://host",
        "https://",
        "user:secret@host",
        "https://user@host/x",
        "host?x=1",
        "host#x",
        "host:0",
        "host:70000",
        "host:port",
        "host/UPPER",
        "host/a//b",
        "host/../x",
        "-host",
        "ho st",
        "host\n",
        "[::1",
        "[zz]:1",
        "::1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ImageEndpoint(registry=text)
    assert "registry" in str(caught.value)


def test_only_a_loopback_host_leaves_its_scheme_open() -> None:
    assert ImageEndpoint(registry="localhost:5000").address.scheme == ""
    assert ImageEndpoint(registry="127.0.0.2:5000").address.scheme == ""
    assert ImageEndpoint(registry="10.0.0.1:5000").address.scheme == "https"
    assert ImageEndpoint(registry="localhost.example.com").address.scheme == "https"
    assert ImageEndpoint(registry="r.example.com", plain_http=True).address.scheme == "http"


@pytest.mark.parametrize(
    "fields",
    [
        {"username": "x"},
        {"external_id": "x"},
        {"plain_http": True, "registry": "https://r.example.com"},
        {"registry_id": "12"},
        {"auth": "magic"},
        {"token_hosts": ["https://x/"]},
        {"password": "x"},
        {"ca_file": "/does/not/exist.pem"},
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ImageEndpoint.model_validate({"registry": "r.example.com", **fields})


def test_a_password_file_has_no_use_without_basic_auth(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("x")
    fields = {"registry": "r.example.com", "username": "u", "password_file": file}
    assert ImageEndpoint.model_validate(fields).username == "u"
    with pytest.raises(ValidationError, match="no use"):
        ImageEndpoint.model_validate({**fields, "auth": "none"})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("r.example.com", "https://R.example.com:443/", True),
        ("localhost:5000", "http://127.0.0.1:5000", True),
        ("r.example.com/dev", "r.example.com/prod", False),
        ("r.example.com", "r.example.com:8443", False),
        ("r.example.com", "s.example.com", False),
    ],
)
def test_one_place_is_recognised_however_it_is_written(one: str, other: str, same: bool) -> None:
    promoter = ImagePromoter(ImageSettings(), {})
    assert promoter.same(ImageEndpoint(registry=one), ImageEndpoint(registry=other)) is same


def test_the_identity_makes_no_other_place(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("x")
    promoter = ImagePromoter(ImageSettings(), {})
    plain = ImageEndpoint(registry="r.example.com")
    named = ImageEndpoint(registry="r.example.com", username="u", password_file=file)
    assert promoter.same(plain, named)
    assert promoter.describe(named) == "r.example.com"


def test_a_region_that_contradicts_the_host_name_is_warned_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
    with caplog.at_level(logging.WARNING, "imgctl.plugin.image"):
        ImagePromoter(ImageSettings(), {"dev": ImageEndpoint(registry=host)})
        assert not caplog.records
        ImagePromoter(ImageSettings(ecr_region="us-west-2"), {"dev": ImageEndpoint(registry=host)})
    assert "eu-central-1" in caplog.text
    assert "us-west-2" in caplog.text
