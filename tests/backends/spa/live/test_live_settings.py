"""What may stand in `[environments.<name>.spa.live]`, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from imgctl_backends.spa.endpoint import SpaEndpoint
from imgctl_backends.spa.live.settings import Live
from imgctl_core.errors import EndpointNotFound
from imgctl_core.problems import most_telling

ARN = "arn:aws:cloudfront::111122223333:key-value-store/a1b2c3d4-0000-1111-2222-333344445555"


def live(**settings: Any) -> Live:
    endpoint = SpaEndpoint.model_validate({"suffix": "prod", "live": settings})
    assert endpoint.live is not None
    return endpoint.live


def refused(**settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        live(**settings)
    problem = most_telling(caught.value)
    return f"{problem.name}: {problem.message}"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"mode": "pointer"}, "current.json"),
        ({"mode": "root"}, ".imgctl/live.json"),
        ({"mode": "pointer", "object": ".well-known/live.json"}, ".well-known/live.json"),
        ({"mode": "root", "object": "_state/é live.json"}, "_state/é live.json"),
    ],
)
def test_the_record_has_a_key(settings: dict[str, Any], key: str) -> None:
    assert live(**settings).key == key


def test_copy_is_what_goes_to_the_root() -> None:
    assert live(mode="root").files == "entry-points"
    assert live(mode="root", copy="all").files == "all"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "live.mode: Field required"),
        ({"mode": "canary"}, "live.mode: Input should be 'root', 'pointer' or 'cloudfront-kvs'"),
        ({"mode": "pointer", "files": "all"}, "live.files: Extra inputs are not permitted"),
        ({"mode": "pointer", "copy": "all"}, 'copy does nothing with mode = "pointer"'),
        ({"mode": "pointer", "elsewhere": ["/api/*"]}, "elsewhere does nothing"),
        ({"mode": "root", "kvs_arn": ARN}, 'kvs_arn does nothing with mode = "root"'),
        ({"mode": "pointer", "kvs_key": "live"}, "kvs_key does nothing"),
        ({"mode": "cloudfront-kvs"}, 'mode = "cloudfront-kvs" needs kvs_arn'),
        (
            {"mode": "cloudfront-kvs", "kvs_arn": ARN, "object": "x.json"},
            'object does nothing with mode = "cloudfront-kvs"; it belongs to "root" and "pointer"',
        ),
        (
            {"mode": "cloudfront-kvs", "kvs_arn": ARN, "distribution": "E1A2B3C4D5"},
            "distribution does nothing",
        ),
        ({"mode": "cloudfront-kvs", "kvs_arn": ARN[:-40]}, "live.kvs_arn: is no key value store"),
        ({"mode": "cloudfront-kvs", "kvs_arn": ARN, "kvs_key": "a\nb"}, "is no key"),
        ({"mode": "cloudfront-kvs", "kvs_arn": ARN, "kvs_key": "é" * 260}, "is no key"),
        ({"mode": "root", "distribution": "e1/../x"}, "is no distribution's id"),
        ({"mode": "root", "invalidate_wait_seconds": 60}, "does nothing without distribution"),
        (
            {"mode": "root", "distribution": "E1A2B3C4D5", "invalidate_wait_seconds": 0},
            "greater than or equal to 1",
        ),
        ({"mode": "root", "elsewhere": ["api/*"]}, "is no pattern of a path"),
    ],
)
def test_what_makes_no_sense_is_said(settings: dict[str, Any], said: str) -> None:
    assert said in refused(**settings)


@pytest.mark.parametrize("mode", ["root", "pointer"])
@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "is no object's key"),
        ("/current.json", "begins or ends with '/'"),
        (".imgctl/", "begins or ends with '/'"),
        (".imgctl/../live.json", "has '.', '..' or nothing as a part"),
        ("..", "has '.', '..' or nothing as a part"),
        (".imgctl//live.json", "has '.', '..' or nothing as a part"),
        ("cur\x00rent.json", "control characters"),
        ("cur\x9frent.json", "control characters"),
        ("_" + "é" * 600, "longer than 1,024 bytes"),
        ("v1/current.json", "is below v1/, which may be a version"),
    ],
)
def test_keys_that_are_refused(mode: str, key: str, said: str) -> None:
    assert said in refused(mode=mode, object=key)


def test_an_environment_that_does_not_say_what_live_means(make_bench: Any, stub: Any) -> None:
    promoter = make_bench(stub.url).promoter
    item = make_bench(stub.url).item("shop:v1")
    with pytest.raises(EndpointNotFound, match="does not say what live means") as caught:
        promoter.plan_activation(item, None)
    assert "[environments.prod.spa.live]" in caught.value.fix
