"""Plugins that do everything right in memory, and that can be told to go wrong.

The server makes its plugins itself, from classes. So a test makes a world first, and
takes from it a class that is bound to it:

    world = FakeWorld()
    world.put("dev", "app", "v1", b"content")
    promoter = world.promoter_class()
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from imgctl_core.activator import Activator
from imgctl_core.context import Context
from imgctl_core.errors import ArtifactNotFound, Conflict, InvalidReference, VerificationFailed
from imgctl_core.models import JSON, ArtifactRef, Plan, PromotionEvent, PromotionItem, Step
from imgctl_core.notifier import Notifier
from imgctl_core.promoter import NoSettings, PluginModel, Promoter

_REF: Final = re.compile(
    r"([a-z0-9][a-z0-9/-]{0,100})(?::([A-Za-z0-9][A-Za-z0-9._-]{0,100}))?(?:@(sha256:[0-9a-f]{64}))?"
)

#: Called at a step, with the step's name and its context. It may block, and may raise.
StepHook = Callable[[str, Context], object]


@dataclass
class FakePlace:
    """One end of a promotion: `shown` is what people see, `pieces` what nobody can.

    `live` are the versions that were live, by name, the present one last.
    """

    shown: dict[str, str] = field(default_factory=dict)
    pieces: dict[str, bytes] = field(default_factory=dict)
    contents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    live: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def read(self, digest: str) -> bytes:
        return b"".join(self.pieces[piece] for piece in self.contents[digest])


class FakeWorld:
    """Places by name, and what happens when promoters work in them.

    Artifacts are stored in pieces of `piece_size` bytes; a promoter copies one piece at
    a time. `calls` lists the steps taken: plan, stage, piece, publish, verify, manifest,
    and plan_activation, activate, verify_activation. `hooks` are called at each of them,
    before it is done.
    """

    def __init__(self, *, piece_size: int = 4) -> None:
        self.piece_size = piece_size
        self.places: dict[str, FakePlace] = {}
        self.calls: list[str] = []
        self.hooks: list[StepHook] = []
        self.lock = threading.RLock()

    def place(self, name: str) -> FakePlace:
        with self.lock:
            return self.places.setdefault(name, FakePlace())

    def put(self, place: str, name: str, version: str | None, content: bytes) -> str:
        """Put an artifact there, over whatever is there. Return its digest."""
        digest = _digest(content)
        size = self.piece_size
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        with self.lock:
            held = self.place(place)
            held.pieces |= {_digest(piece): piece for piece in pieces}
            held.contents[digest] = tuple(_digest(piece) for piece in pieces)
            held.shown[_label(name, version, digest)] = digest
        return digest

    def shown(self, place: str) -> dict[str, str]:
        """Return what people see there: digests by `name:version` or `name@digest`."""
        with self.lock:
            return dict(self.place(place).shown)

    def live(self, place: str, name: str) -> str | None:
        """Return the version that is live there, if any."""
        with self.lock:
            history = self.place(place).live.get(name, ())
            return history[-1] if history else None

    def make_live(self, place: str, name: str, version: str) -> None:
        """Make a version live there, whatever is."""
        with self.lock:
            held = self.place(place)
            held.live[name] = (*held.live.get(name, ()), version)

    def fail(self, step: str, error: Exception, times: int = 1) -> None:
        """Raise that error the next time, or times, that the step is taken."""
        left = [error] * times

        def raises(taken: str, context: Context) -> None:
            with self.lock:
                if taken != step or not left:
                    return
                raise left.pop()

        self.hooks.append(raises)

    def step(self, name: str, context: Context) -> None:
        """Note a step, and let the hooks have their say."""
        with self.lock:
            self.calls.append(name)
        for hook in list(self.hooks):
            hook(name, context)

    def promoter_class(self, kind: str = "fake", family: str = "FAKE") -> type[FakePromoter]:
        """Return a class of promoters of that kind that work in this world."""
        return type("FakePromoter", (FakePromoter,), self._members(kind, family))

    def activator_class(self, kind: str = "fake", family: str = "FAKE") -> type[FakeActivator]:
        """Return the same, of promoters that can make versions live, too."""
        return type("FakeActivator", (FakeActivator,), self._members(kind, family))

    def _members(self, kind: str, family: str) -> dict[str, object]:
        return {"kind": kind, "family": family, "world": self, "__module__": __name__}


class FakeEndpoint(PluginModel):
    """An environment of the fake kind: the name of a place of the world."""

    place: str


class FakePromoter(Promoter[FakeEndpoint, NoSettings]):
    """Promotes `name:version`, `name:version@digest` and `name@digest` within a world."""

    kind = "fake"
    family = "FAKE"
    family_field = "place"
    Endpoint = FakeEndpoint
    Settings = NoSettings
    world: ClassVar[FakeWorld] = FakeWorld()

    closed = False

    def parse(self, text: str) -> ArtifactRef:
        found = _REF.fullmatch(text)
        if found is None or (found[2] is None and found[3] is None):
            raise InvalidReference(
                f"{text!r} is no {self.kind} reference", fix="write name:version or name@digest"
            )
        return ArtifactRef(self.kind, found[1], found[2], found[3])

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        self.world.step("plan", context)
        context.check()
        source, destination = self._places(item)
        ref = item.ref
        with self.world.lock:
            digest = ref.digest if ref.version is None else source.shown.get(_name(ref))
            if digest is None or digest not in source.contents or ref.digest not in (None, digest):
                raise ArtifactNotFound(f"{item.source} has no {self.kind} artifact {ref}")
            pieces = dict.fromkeys(source.contents[digest])
            present = sum(len(source.pieces[p]) for p in pieces if p in destination.pieces)
            missing = [piece for piece in pieces if piece not in destination.pieces]
            to_copy = sum(len(source.pieces[piece]) for piece in missing)
            current = destination.shown.get(_label(ref.name, ref.version, digest))
        if current not in (None, digest) and not item.replace:
            raise _conflict(item, str(current), digest)
        return Plan(
            item,
            digest,
            current,
            bytes_to_copy=to_copy,
            bytes_present=present,
            steps=(Step("copy", f"{len(missing)} pieces", to_copy), Step("show", str(ref))),
            data={"pieces": list(source.contents[digest])},
        )

    def stage(self, plan: Plan, context: Context) -> None:
        self.world.step("stage", context)
        source, destination = self._places(plan.item)
        pieces = list(dict.fromkeys(source.contents[plan.digest]))
        context.scratch["copied"] = copied = set[str]()
        context.progress.total(sum(len(source.pieces[piece]) for piece in pieces))
        for piece in pieces:
            context.check()
            self.world.step("piece", context)
            content = source.pieces[piece]
            if piece in destination.pieces:
                context.progress.present(len(content))
                continue
            if _digest(content) != piece:
                raise VerificationFailed(f"a piece of {plan.item.ref} has another digest")
            with self.world.lock:
                destination.pieces[piece] = content
            copied.add(piece)
            context.progress.copied(len(content))
        context.check()
        with self.world.lock:
            destination.contents[plan.digest] = source.contents[plan.digest]

    def publish(self, plan: Plan, context: Context) -> None:
        self.world.step("publish", context)
        _, destination = self._places(plan.item)
        label = _label(plan.item.ref.name, plan.item.ref.version, plan.digest)
        with self.world.lock:
            current = destination.shown.get(label)
            unseen = current not in (None, plan.digest, plan.current)
            if unseen and not plan.item.replace:
                raise _conflict(plan.item, str(current), plan.digest)
            destination.shown[label] = plan.digest

    def verify(self, plan: Plan, context: Context) -> str:
        self.world.step("verify", context)
        _, destination = self._places(plan.item)
        label = _label(plan.item.ref.name, plan.item.ref.version, plan.digest)
        with self.world.lock:
            shown = destination.shown.get(label)
            if shown is None:
                raise VerificationFailed(f"{label} is not at {plan.item.destination}")
            return _digest(destination.read(shown))

    def manifest(self, plan: Plan, context: Context) -> Iterator[Mapping[str, JSON]]:
        self.world.step("manifest", context)
        pieces, copied = plan.data["pieces"], context.scratch.get("copied")
        for piece in pieces if isinstance(pieces, list) else []:
            # Without a stage of this very promotion nobody knows any more.
            yield {"piece": piece, "copied": piece in copied if isinstance(copied, set) else None}

    def close(self) -> None:
        self.closed = True

    def _places(self, item: PromotionItem) -> tuple[FakePlace, FakePlace]:
        ends = (self.endpoints[item.source], self.endpoints[item.destination])
        return self.world.place(ends[0].place), self.world.place(ends[1].place)


class FakeActivator(FakePromoter, Activator):
    """Promotes, and makes versions live; which ones were is kept in their place."""

    def parse_name(self, text: str) -> ArtifactRef:
        found = _REF.fullmatch(text)
        if found is None or found[2] is not None or found[3] is not None:
            raise InvalidReference(f"{text!r} is no name of a {self.kind} artifact")
        return ArtifactRef(self.kind, found[1])

    def plan_activation(self, item: PromotionItem, context: Context) -> Plan:
        self.world.step("plan_activation", context)
        context.check()
        place, _ = self._places(item)
        with self.world.lock:
            history = place.live.get(item.ref.name, ())
            version = item.ref.version or (history[-2] if len(history) > 1 else None)
            if version is None:
                raise ArtifactNotFound(f"none of {item.ref} was live in {item.destination} before")
            ref = replace(item.ref, version=version)
            digest = place.shown.get(_name(ref))
            if digest is None:
                raise ArtifactNotFound(f"{item.destination} has no {self.kind} artifact {ref}")
            if not all(piece in place.pieces for piece in place.contents[digest]):
                raise VerificationFailed(f"{ref} is not whole in {item.destination}")
            current = self._live(place, item.ref)
        return Plan(
            replace(item, ref=ref),
            digest,
            current,
            complete=history[-1:] == (version,),
            steps=(Step("switch", f"{item.ref.name} to {version}"),),
        )

    def activate(self, plan: Plan, context: Context) -> None:
        self.world.step("activate", context)
        context.check()
        ref, (place, _) = plan.item.ref, self._places(plan.item)
        with self.world.lock:
            history = place.live.get(ref.name, ())
            if history[-1:] == (ref.version,):
                return
            if self._live(place, ref) != plan.current:
                raise Conflict(f"{plan.item.destination} has {history[-1]} of {ref} live by now")
            place.live[ref.name] = (*history, str(ref.version))

    def verify_activation(self, plan: Plan, context: Context) -> str:
        self.world.step("verify_activation", context)
        place, _ = self._places(plan.item)
        with self.world.lock:
            live = self._live(place, plan.item.ref)
            return "" if live is None else _digest(place.read(live))

    def _live(self, place: FakePlace, ref: ArtifactRef) -> str | None:
        """Return the digest of the version that is live."""
        history = place.live.get(ref.name, ())
        return place.shown.get(f"{ref.name}:{history[-1]}") if history else None


class FakeMailbox:
    """What fake notifiers were told. `hooks` run first; they may block, and may raise."""

    def __init__(self) -> None:
        self.events: list[PromotionEvent] = []
        self.hooks: list[Callable[[PromotionEvent, Context], object]] = []
        self.arrived = threading.Event()

    def notifier_class(
        self, kind: str = "fake", variables: Mapping[str, str] | None = None
    ) -> type[FakeNotifier]:
        """Return a class of notifiers of that kind that tell this mailbox."""
        members = {
            "kind": kind,
            "variables": dict(variables or {}),
            "mailbox": self,
            "__module__": __name__,
        }
        return type("FakeNotifier", (FakeNotifier,), members)


class FakeNotifierSettings(PluginModel):
    """Where the notifier would tell, if it told anyone."""

    address: str = ""


class FakeNotifier(Notifier[FakeNotifierSettings]):
    """Tells a mailbox."""

    kind = "fake"
    Settings = FakeNotifierSettings
    mailbox: ClassVar[FakeMailbox] = FakeMailbox()

    def notify(self, event: PromotionEvent, context: Context) -> None:
        for hook in list(self.mailbox.hooks):
            hook(event, context)
        context.check()
        self.mailbox.events.append(event)
        self.mailbox.arrived.set()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _name(ref: ArtifactRef) -> str:
    return f"{ref.name}:{ref.version}"


def _label(name: str, version: str | None, digest: str) -> str:
    return f"{name}@{digest}" if version is None else f"{name}:{version}"


def _conflict(item: PromotionItem, current: str, digest: str) -> Conflict:
    return Conflict(
        f"{item.destination} holds {current} as {item.ref}, not {digest}",
        fix="promote another version, or replace it where that is allowed",
    )
