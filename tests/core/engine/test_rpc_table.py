"""Who may call what: a table with a row for every RPC, over a real channel.

Behind the server stand the real policy, the real engine and the real catalogue; only
whose token it is, is said by a name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core.auth.policy import EnvironmentRules
from imgctl_core.errors import NotAuthorized, PromotionNotFound, TokenRefused
from imgctl_core.models import Actor
from imgctl_core.rules import Rule
from imgctl_core.server.app import create_server
from imgctl_core.server.binding import Binding

if TYPE_CHECKING:
    from tests.core.engine.conftest import World

#: Who calls, and the groups in their token. `owner` started the promotion that is looked
#: at, and is in none of prod's groups any more; `namesake` has their name at another issuer.
GROUPS: dict[str, tuple[str, ...]] = {
    "stranger": ("prod", "images", "web"),
    "member": ("eng",),
    "unruly": ("eng", "prod"),
    "images": ("eng", "prod", "images"),
    "web": ("eng", "prod", "web"),
    "ruled": ("eng", "images", "web"),
    "owner": ("eng",),
    "namesake": ("eng",),
}

OK = grpc.StatusCode.OK
DENIED = grpc.StatusCode.PERMISSION_DENIED
HIDDEN = grpc.StatusCode.NOT_FOUND
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED

#: prod asks for `prod`, and rules for `images` or `web` by kind.
PROD = EnvironmentRules(allowed_groups=("prod",))
RULES = (
    Rule(kinds=("image",), destinations=("prod",), groups=("images",)),
    Rule(kinds=("spa",), destinations=("prod",), groups=("web",)),
)

Codes = dict[str, grpc.StatusCode]

ALLOWED_GROUP: Codes = {**dict.fromkeys(GROUPS, OK), "stranger": DENIED}
AS_PROMOTE: Codes = {**dict.fromkeys(GROUPS, DENIED), "images": OK}
AS_ACTIVATE: Codes = {**dict.fromkeys(GROUPS, DENIED), "web": OK}
ITS_OWN: Codes = {
    **dict.fromkeys(GROUPS, HIDDEN),
    "stranger": DENIED,
    "owner": OK,
    "images": OK,
}

ENDS = {"source": "dev", "destination": "prod"}
#: Every RPC: what is sent, and who gets which answer. `{id}` is the owner's promotion.
TABLE: dict[str, tuple[dict[str, Any], Codes]] = {
    "AuthCheck": ({}, ALLOWED_GROUP),
    "ListEnvironments": ({}, ALLOWED_GROUP),
    "ListPlugins": ({}, ALLOWED_GROUP),
    "Promote": ({"ref": "app:v1", **ENDS}, AS_PROMOTE),
    "StartPromotion": ({"refs": ["app:v1", "lib:v1"], **ENDS}, AS_PROMOTE),
    "PlanPromotion": ({"refs": ["app:v1"], **ENDS}, AS_PROMOTE),
    "ExportPlan": ({"refs": ["app:v1"], **ENDS}, AS_PROMOTE),
    "StartActivation": ({"ref": "spa:shop:1", "environment": "prod"}, AS_ACTIVATE),
    "PlanActivation": ({"ref": "spa:shop:1", "environment": "prod"}, AS_ACTIVATE),
    "GetPromotion": ({"id": "{id}"}, ITS_OWN),
    "WatchPromotion": ({"id": "{id}"}, ITS_OWN),
    "CancelPromotion": ({"id": "{id}"}, ITS_OWN),
    "GetManifest": ({"id": "{id}"}, ITS_OWN),
}
#: What the last message of a stream has.
LAST = {"WatchPromotion": "result", "ExportPlan": "result", "GetManifest": "end"}
ROWS = [(method, who, codes[who]) for method, (_, codes) in TABLE.items() for who in GROUPS]

SERVICE = pb.DESCRIPTOR.services_by_name["ImgCtl"]


def person(name: str, *groups: str) -> Actor:
    issuer = "https://dex.example.com" + ("/other" if name == "namesake" else "")
    return Actor(issuer, "owner" if name == "namesake" else name, name, groups=groups)


class ByName:
    """Takes a name for a token."""

    def verify(self, token: str) -> Actor:
        if token not in GROUPS:
            raise TokenRefused("nobody")
        return person(token, *GROUPS[token])


@dataclass(frozen=True)
class Answer:
    code: grpc.StatusCode
    details: str = ""


Call = Callable[[str, str], Answer]


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world(allow=RULES, prod=PROD)
    world.promoter.rows = ({"key": "a.js"},)
    return world


@pytest.fixture
def call(world: World) -> Iterator[Call]:
    """Make a call by the method's name and return how it ended."""
    server = create_server(
        Binding("127.0.0.1"),
        world.engine,
        world.catalogue,
        ByName(),
        world.policy,
        audit=world.audit.record,
    )
    owners = world.promote("app:v1", actor=person("owner", "eng", "prod", "images")).id
    world.shelves["prod"].clear()
    options = [("grpc.enable_http_proxy", 0)]

    def made(method: str, token: str) -> Answer:
        fields = {
            name: value.format(id=owners) if isinstance(value, str) else value
            for name, value in TABLE[method][0].items()
        }
        message = getattr(pb, SERVICE.methods_by_name[method].input_type.name)(**fields)
        metadata = [("authorization", f"Bearer {token}")]
        try:
            answer = getattr(stub, method)(message, metadata=metadata, timeout=20)
            if SERVICE.methods_by_name[method].server_streaming:
                assert list(answer)[-1].HasField(LAST[method])
        except grpc.RpcError as error:
            return Answer(error.code(), error.details() or "")
        return Answer(OK)

    with server, grpc.insecure_channel(server.address, options=options) as channel:
        stub: Any = imgctl_pb2_grpc.ImgCtlStub(channel)
        yield made
        # What was only started must not outlive its log.
        world.engine.drain(20)


def test_every_rpc_has_a_row() -> None:
    assert set(SERVICE.methods_by_name) == set(TABLE)


@pytest.mark.parametrize(("method", "who", "code"), ROWS, ids=[f"{m}-{w}" for m, w, _ in ROWS])
def test_row(call: Call, world: World, method: str, who: str, code: grpc.StatusCode) -> None:
    before = len(world.records("promotion.requested"))
    answer = call(method, who)
    assert answer.code is code, answer
    if code is not OK:
        assert world.shelves["prod"] == {}
        assert len(world.records("promotion.requested")) == before


@pytest.mark.parametrize("method", TABLE)
def test_nobody_without_a_good_token(call: Call, method: str) -> None:
    assert call(method, "forged").code is UNKNOWN


def test_an_id_that_is_not_yours_looks_like_none(call: Call, world: World) -> None:
    """What is hidden and what does not exist get one answer."""
    promotion = world.promote("lib:v1", actor=person("images", *GROUPS["images"]))
    texts = []
    for promotion_id, who in ((promotion.id, "member"), ("pr_nothing", "images")):
        with pytest.raises(PromotionNotFound) as hidden:
            world.engine.get(promotion_id, person(who, *GROUPS[who]))
        texts.append(str(hidden.value).replace(promotion_id, "…"))
    assert texts[0] == texts[1]


def test_who_may_promote_only_one_of_the_artifacts_sees_nothing(
    make_world: Callable[..., World],
) -> None:
    rules = (
        Rule(artifacts=("app",), groups=("apps",)),
        Rule(groups=("all",)),
    )
    world = make_world(allow=rules)
    both = world.promote("app:v1", "lib:v1", actor=person("owner", "eng", "all"))
    one = world.promote("app:v1", actor=person("owner", "eng", "all"))
    apps = person("apps", "eng", "apps")
    assert world.engine.get(one.id, apps).id == one.id
    with pytest.raises(PromotionNotFound):
        world.engine.cancel(both.id, apps)


@pytest.mark.parametrize("who", GROUPS)
def test_the_explanation_says_what_the_promotion_would_hear(
    call: Call, world: World, who: str
) -> None:
    """One evaluation stands behind both, and asking writes nothing."""
    actor = person(who, *GROUPS[who])
    explained = world.catalogue.explain(world.request("app:v1"), actor)
    requested = len(world.records("promotion.requested"))
    assert explained.allowed is (call("Promote", who).code is OK)
    assert [one.check for one in explained.decisions] == [
        "oidc.allowed_groups",
        "environments.prod.allowed_groups",
        "environments.prod.promote_from",
        "rules",
    ]
    denied = [one for one in explained.decisions if not one.allowed]
    assert all(one.why and one.fix for one in denied)
    if denied and who != "stranger":
        last = world.records("authz.denied")[-1]
        assert last["why"] == denied[0].why
    assert len(world.records("promotion.requested")) == requested + explained.allowed


def test_several_items_are_allowed_only_together(world: World) -> None:
    for refs in itertools.permutations(("app:v1", "spa:shop:1")):
        with pytest.raises(NotAuthorized, match="group web would do"):
            world.promote(*refs, actor=person("images", *GROUPS["images"]))
    assert world.shelves["prod"] == {}
