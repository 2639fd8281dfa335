"""The table of errors, over a real channel and back."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from imgctl_core import errors
from imgctl_core.errors import ImgctlError, all_errors
from imgctl_core.server import status

_Code = grpc.StatusCode


@pytest.mark.parametrize("cls", list(all_errors()), ids=lambda cls: cls.__name__)
def test_every_error_class_has_a_row(cls: type[ImgctlError]) -> None:
    assert cls in status.CODES


def test_no_row_is_success() -> None:
    assert grpc.StatusCode.OK not in status.CODES.values()


@pytest.mark.parametrize(
    ("cls", "code"),
    [
        (errors.InvalidReference, _Code.INVALID_ARGUMENT),
        (errors.RequestError, _Code.INVALID_ARGUMENT),
        (errors.TokenRefused, _Code.UNAUTHENTICATED),
        (errors.NotAuthorized, _Code.PERMISSION_DENIED),
        (errors.Conflict, _Code.ALREADY_EXISTS),
        (errors.EnvironmentNotFound, _Code.NOT_FOUND),
        (errors.ServerBusy, _Code.RESOURCE_EXHAUSTED),
        (errors.AuditUnavailable, _Code.UNAVAILABLE),
        (errors.EndpointUnreachable, _Code.UNAVAILABLE),
        (errors.IssuerUnreachable, _Code.UNAVAILABLE),
        (errors.PluginUnavailable, _Code.FAILED_PRECONDITION),
        (errors.LintFailed, _Code.FAILED_PRECONDITION),
        (errors.Cancelled, _Code.CANCELLED),
        (errors.DeadlineExceeded, _Code.DEADLINE_EXCEEDED),
        (errors.InternalError, _Code.INTERNAL),
    ],
)
def test_codes_that_others_rely_on(cls: type[ImgctlError], code: grpc.StatusCode) -> None:
    assert status.code_for(cls) is code


@pytest.mark.parametrize("cls", list(all_errors()), ids=lambda cls: cls.__name__)
def test_every_error_comes_back_as_it_went(running: Any, cls: type[ImgctlError]) -> None:
    running.engine.errors["get"] = cls("it's broken: käse 100 %", fix="repair it", id="pr_9")
    with pytest.raises(ImgctlError) as caught:
        running.client().get("pr_1")
    error = caught.value
    assert type(error) is cls
    assert (error.message, error.fix, error.id) == ("it's broken: käse 100 %", "repair it", "pr_9")


def test_streams_carry_the_same_errors(running: Any) -> None:
    running.engine.errors["watch"] = errors.PromotionNotFound("there is none", fix="look")
    with pytest.raises(errors.PromotionNotFound, match="there is none") as caught:
        list(running.client().watch("pr_1"))
    assert caught.value.fix == "look"


def test_an_error_without_fix_and_id_comes_back_without(running: Any) -> None:
    running.engine.errors["get"] = errors.Conflict("something else")
    with pytest.raises(errors.Conflict) as caught:
        running.client().get("pr_1")
    assert (caught.value.fix, caught.value.id) == ("", "")


def test_a_long_text_is_cut_and_still_arrives(running: Any) -> None:
    running.engine.errors["get"] = errors.Conflict("ä€" * 100_000, fix="x" * 100_000)
    with pytest.raises(errors.Conflict) as caught:
        running.client().get("pr_1")
    assert caught.value.message.startswith("ä€ä€")
    assert caught.value.message.endswith("…")
    assert len(caught.value.message.encode()) <= status.MAX_TEXT
    assert len(caught.value.fix) <= status.MAX_TEXT


def test_a_lone_surrogate_does_not_cost_the_error(running: Any) -> None:
    running.engine.errors["get"] = errors.Conflict("bad \ud800 name")
    with pytest.raises(errors.Conflict, match=r"bad \? name"):
        running.client().get("pr_1")


def test_a_class_of_a_plugin_has_its_parents_row_and_comes_back_as_the_nearest(
    running: Any,
) -> None:
    class Special(errors.EndpointDenied):
        reason = "SPECIAL"

    assert status.code_for(Special) is status.CODES[errors.EndpointDenied]
    running.engine.errors["get"] = Special("no entry")
    with pytest.raises(errors.PromotionError, match="no entry") as caught:
        running.client().get("pr_1")
    assert type(caught.value) is errors.PromotionError


@pytest.mark.parametrize("code", [code for code in _Code if code is not _Code.OK])
def test_every_code_means_something(code: grpc.StatusCode) -> None:
    assert issubclass(status.nearest(code), ImgctlError)
