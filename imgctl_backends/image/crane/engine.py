"""A promotion of one image by crane, phase by phase.

crane copies to a digest first, which shows nobody anything new, and tags afterwards: so
the tag is put last here, too. It copies the image alone, and trusts a manifest that the
destination has.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from imgctl_backends.image.content.digests import is_digest, matches, sha256
from imgctl_backends.image.content.manifests import Descriptor, Manifest, parse_manifest
from imgctl_backends.image.content.media_types import implied_type
from imgctl_backends.image.crane import outcomes, program
from imgctl_backends.image.crane.sides import Side, check_pair, make_side, private_home
from imgctl_backends.image.endpoint import ImageEndpoint, ImageSettings
from imgctl_core.context import Context, ProgressCounter
from imgctl_core.errors import (
    ArtifactNotFound,
    Conflict,
    EndpointFailed,
    EndpointNotFound,
    InvalidSetting,
    RequestError,
    VerificationFailed,
)
from imgctl_core.models import JSON, Plan, PromotionItem, Step

#: Each manifest is a run of crane; real images nest indexes once, if at all.
_DEEPEST: Final = 8
_MOST_MANIFESTS: Final = 500

_SMALL: Final = 64 * 1024

#: So many copies run at once, and share the `jobs` of the settings among them.
_COPIES: Final = 4
_LOOK_SECONDS: Final = 0.05
_BLOB_LINE = re.compile(r"(pushed|existing|mounted) blob: (sha256:[0-9a-f]{64})", re.ASCII)


class CraneEngine:
    """Copies images between registries by running crane."""

    def __init__(self, settings: ImageSettings, endpoints: Mapping[str, ImageEndpoint]) -> None:
        """Find crane, and look whether it can do what the endpoints ask for.

        Raises:
            InvalidSetting: there is no crane, or it can't.
        """
        _refuse_settings(settings)
        self._settings = settings
        self._crane = program.find_crane(settings)
        self._copies = threading.BoundedSemaphore(_COPIES)
        self._sides = {
            name: make_side(name, endpoint, settings) for name, endpoint in endpoints.items()
        }

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        _refuse_what_crane_can_not(item)
        if item.options.get("referrers", self._settings.referrers) != "none":
            context.progress.note("signatures and other referrers stay behind: crane copies none")
        source, destination = self._pair(item)
        digest = self._resolve(source, item, context)
        current = self._digest(destination, item, context)
        if current == digest:
            return Plan(item, digest, current)
        if current is not None and not item.replace:
            raise _conflict(item, destination, digest, current)
        blobs = self._blobs(source, item.ref.name, digest, context)
        size = sum(blobs.values())
        named = f":{item.ref.version}" if item.ref.version else f"@{digest}"
        action = "put" if current is None else "replace"
        sizes: dict[str, JSON] = dict(blobs)
        return Plan(
            item,
            digest,
            current,
            bytes_to_copy=size,
            steps=(
                Step("copy", f"at most {len(blobs)} blobs, by crane", size),
                Step(action, destination.repository(item.ref.name) + named),
            ),
            data={"blobs": sizes},
        )

    def stage(self, plan: Plan, context: Context) -> None:
        context.check()
        sizes = _sizes(plan)
        context.progress.total(sum(sizes.values()))
        # Without a tag the digest is the name: then publish copies.
        if plan.item.ref.version is not None:
            self._copy(plan, sizes, context)

    def publish(self, plan: Plan, context: Context) -> None:
        _, destination = self._pair(plan.item)
        item = plan.item
        now = self._digest(destination, item, context)
        if now == plan.digest:
            return
        if now is not None and not item.replace:
            raise _conflict(item, destination, plan.digest, now)
        if item.ref.version is None:
            self._copy(plan, _sizes(plan), context)
            return
        staged = f"{destination.repository(item.ref.name)}@{plan.digest}"
        with self._run((destination,), ("tag", staged, item.ref.version), context) as (done, say):
            if done.code == 0:
                return
            if not outcomes.tag_refused(done):
                raise say(destination.host, f"put the tag {item.ref.version}")
        now = self._digest(destination, item, context)
        if now == plan.digest:
            return
        if now is None:
            raise say(destination.host, f"put the tag {item.ref.version}")
        raise _conflict(item, destination, plan.digest, now)

    def verify(self, plan: Plan, context: Context) -> str:
        _, destination = self._pair(plan.item)
        content = self._manifest(destination, _published(destination, plan.item), context)
        if content is None:
            raise VerificationFailed(
                f"{destination.host} does not show {plan.item.ref} after it was put there"
            )
        return sha256(content)

    def close(self) -> None:
        """Nothing runs between promotions."""

    def _copy(self, plan: Plan, sizes: Mapping[str, int], context: Context) -> None:
        source, destination = self._pair(plan.item)
        check_pair(source, destination)
        name = plan.item.ref.name
        ends = [f"{side.repository(name)}@{plan.digest}" for side in (source, destination)]
        counted = _Counted(sizes, context.progress)
        command = ("copy", "--jobs", str(max(1, self._settings.jobs // _COPIES)), *ends)
        with self._turn(context):
            context.progress.say("crane copies")
            with self._run((source, destination), command, context, counted.hear) as (done, say):
                if done.code != 0:
                    raise say(f"{source.host} or {destination.host}", f"copy {plan.item.ref}")
        counted.rest()

    @contextlib.contextmanager
    def _turn(self, context: Context) -> Iterator[None]:
        while not self._copies.acquire(timeout=_LOOK_SECONDS):
            context.check()
        try:
            yield
        finally:
            self._copies.release()

    def _resolve(self, source: Side, item: PromotionItem, context: Context) -> str:
        ref = item.ref
        digest = self._digest(source, item, context)
        if digest is None:
            raise ArtifactNotFound(
                f"the source {item.source} has no image {ref} "
                f"(looked in {source.repository(ref.name)})",
                fix="push it there first, or check the spelling",
            )
        if ref.digest is not None and digest != ref.digest:
            raise ArtifactNotFound(
                f"in the source {item.source} the tag {ref.name}:{ref.version} is {digest}, "
                f"not {ref.digest}",
                fix="the tag was moved: find out which of the two is meant",
            )
        return digest

    def _digest(self, side: Side, item: PromotionItem, context: Context) -> str | None:
        command = ("digest", _published(side, item))
        with self._run((side,), command, context) as (done, say):
            if outcomes.absent(done):
                return None
            if done.code != 0:
                raise say(side.host, f"look up {item.ref}")
        found = done.output.decode("ascii", "replace").strip()
        if not is_digest(found):
            raise EndpointFailed(f"crane found no usable digest for {item.ref} at {side.host}")
        return found

    def _manifest(self, side: Side, reference: str, context: Context) -> bytes | None:
        limit = self._settings.manifest_bytes
        command = ("manifest", reference)
        with self._run((side,), command, context, limit=limit) as (done, say):
            if outcomes.absent(done):
                return None
            if done.code != 0:
                raise say(side.host, "read a manifest")
        return done.output

    def _blobs(self, side: Side, name: str, root: str, context: Context) -> dict[str, int]:
        """Return the blobs of an image and their sizes, foreign layers left out."""
        blobs: dict[str, int] = {}
        seen: set[str] = set()
        level: list[str] = [root]
        for _ in range(_DEEPEST + 1):
            manifests = [self._read(side, name, digest, context) for digest in level]
            seen.update(level)
            below: dict[str, Descriptor] = {}
            for manifest in manifests:
                blobs |= {blob.digest: blob.size for blob in manifest.blobs if not blob.foreign}
                below |= {child.digest: child for child in manifest.children}
            level = [digest for digest in below if digest not in seen]
            if len(seen) + len(level) > _MOST_MANIFESTS:
                raise EndpointFailed(f"the image {root} has too many manifests to be promoted")
            if not level:
                return blobs
        raise EndpointFailed(f"the image {root} nests its indexes too deep to be promoted")

    def _read(self, side: Side, name: str, digest: str, context: Context) -> Manifest:
        content = self._manifest(side, f"{side.repository(name)}@{digest}", context)
        if content is None:
            raise ArtifactNotFound(f"{side.repository(name)} has no manifest {digest}")
        if not matches(digest, content):
            raise EndpointFailed(f"{side.host} sent wrong bytes for the manifest {digest}")
        return parse_manifest(digest, content, implied_type(content))

    def _pair(self, item: PromotionItem) -> tuple[Side, Side]:
        for name in (item.source, item.destination):
            if name not in self._sides:
                raise EndpointNotFound(f"the environment {name} has no registry")
        source, destination = self._sides[item.source], self._sides[item.destination]
        check_pair(source, destination)
        return source, destination

    @contextlib.contextmanager
    def _run(
        self,
        sides: Sequence[Side],
        command: Sequence[str],
        context: Context,
        heard: Callable[[str], None] = lambda line: None,
        limit: int = _SMALL,
    ) -> Iterator[tuple[program.Done, Callable[[str, str], Exception]]]:
        """Run crane with the sides' credentials; also yield what makes an error of its end."""
        with private_home(sides) as home:
            flags = ["--insecure"] if any(side.plain for side in sides) else []
            env = program.environment(home.folder, home.variables)
            done = program.run(
                [self._crane, *flags, *command], env, context, limit=limit, heard=heard
            )
        yield done, lambda where, doing: outcomes.failure(done, where, doing, home.secrets)


class _Counted:
    """The blobs that crane has told of, each once."""

    def __init__(self, sizes: Mapping[str, int], progress: ProgressCounter) -> None:
        self._left = dict(sizes)
        self._progress = progress

    def hear(self, line: str) -> None:
        told = _BLOB_LINE.search(line)
        if told is None:
            return
        size = self._left.pop(told[2], None)
        if size is None:
            return
        count = {
            "pushed": self._progress.copied,
            "existing": self._progress.present,
            "mounted": self._progress.mounted,
        }[told[1]]
        count(size)

    def rest(self) -> None:
        """Count what crane had no word for: a manifest was there, so it did not look."""
        self._progress.present(sum(self._left.values()))
        self._left.clear()


def _sizes(plan: Plan) -> dict[str, int]:
    blobs = plan.data.get("blobs", {})
    if not isinstance(blobs, Mapping):
        raise ValueError("no table of blobs")
    return {digest: size for digest, size in blobs.items() if isinstance(size, int)}


def _published(side: Side, item: PromotionItem) -> str:
    """Return what crane calls the image on a side: by its tag, else by its digest."""
    ref = item.ref
    return side.repository(ref.name) + (f":{ref.version}" if ref.version else f"@{ref.digest}")


def _conflict(item: PromotionItem, destination: Side, digest: str, current: str) -> Conflict:
    return Conflict(
        f"{_published(destination, item)} in {item.destination} is {current} already; "
        f"{item.source} has {digest}",
        fix="promote it under another tag, or use --on-conflict replace where the environment "
        "allows it",
        digest=digest,
        current=current,
    )


def _refuse_settings(settings: ImageSettings) -> None:
    if "referrers" in settings.model_fields_set and settings.referrers != "none":
        raise InvalidSetting(
            'engine = "crane" leaves referrers behind, and the settings ask for them',
            fix='set referrers = "none", or leave engine at its default',
        )


def _refuse_what_crane_can_not(item: PromotionItem) -> None:
    """Say no to what would silently be left out."""
    if item.options.get("referrers", "none") != "none":
        raise RequestError(
            "this server copies images by crane, which leaves their referrers behind",
            fix="promote with --referrers none, or have the server use its own engine",
        )
    if item.deep:
        raise RequestError(
            "this server copies images by crane, which trusts what a destination says it has",
            fix="promote without --deep, or have the server use its own engine",
        )
