"""The promoter of kind `spa`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

from imgctl_backends.spa import references
from imgctl_backends.spa.copying.copy import Copier, ServerSideCopier
from imgctl_backends.spa.copying.stream import StreamingCopier
from imgctl_backends.spa.endpoint import SpaEndpoint, SpaSettings
from imgctl_backends.spa.lint.inspection import LEVELS, conclude, inspect
from imgctl_backends.spa.live.opening import Opening
from imgctl_backends.spa.live.switch import Switch
from imgctl_backends.spa.manifest import File, from_rows
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.planning import make_plan, manifest_rows
from imgctl_backends.spa.reading.compare import Comparer
from imgctl_backends.spa.reading.listing import Listing, list_version
from imgctl_backends.spa.reading.sources import identified
from imgctl_backends.spa.references import Place, bucket_name
from imgctl_backends.spa.trail import Trail
from imgctl_backends.spa.transfer import Transfer, conflict
from imgctl_backends.spa.wire.bucket import Bucket, Buckets
from imgctl_backends.spa.wire.faults import unreachable
from imgctl_backends.spa.wire.pace import Pace, Patience
from imgctl_backends.spa.wire.waiting import both
from imgctl_core import Activator, ArtifactRef, Context, Plan, Promoter, PromotionItem
from imgctl_core.errors import (
    ArtifactNotFound,
    EndpointDenied,
    EndpointFailed,
    EndpointNotFound,
    InternalError,
)
from imgctl_core.models import JSON

#: Seconds that opening both buckets may take before an endpoint counts as unreachable.
OPEN_WITHIN: Final = 20.0


class SpaPromoter(Promoter[SpaEndpoint, SpaSettings], Activator):
    """Promotes `spa:<name>:<version>` from bucket to bucket.

    A version is everything under `<version>/` in the bucket `<name>-<suffix>`. Files
    that exist at the destination and are the same are left alone; one that differs is a
    conflict; nothing is ever deleted. Assets go in `stage`, which shows nothing to
    anybody, because nothing names them yet; entry points go in `publish`. Each step
    leaves a trail for the next ones, which saves lists and never guards.
    """

    kind: ClassVar[str] = references.KIND
    family: ClassVar[str] = "SPA"
    family_field: ClassVar[str] = "suffix"
    options: ClassVar[Mapping[str, tuple[str, ...]]] = {"lint": LEVELS}

    Endpoint = SpaEndpoint
    Settings = SpaSettings

    def __init__(self, settings: SpaSettings, endpoints: Mapping[str, SpaEndpoint]) -> None:
        super().__init__(settings, endpoints)
        self.patience = Patience()
        self._order = Order(settings.entry_points)
        self._buckets = Buckets()
        self._opening = Opening(settings, self._buckets, self._order)

    def parse(self, text: str) -> ArtifactRef:
        return references.parse(text)

    def plan(self, item: PromotionItem, context: Context) -> Plan:
        source, destination = self._open(item, context)
        here, there = both(
            context,
            lambda: list_version(source, context, self.patience),
            lambda: list_version(destination, context, self.patience),
            "list",
        )
        if not here.files:
            raise _nothing(source.place, here)
        files = identified(source, here, context)
        seen = Comparer(source, destination, context, self.patience).compare(files, there.files)
        if seen.different and not item.replace:
            keys = [file.key for file, _ in seen.different]
            raise conflict(destination, keys, self._order)
        if len(seen.same) < len(files) or item.options.get("lint") == "strict":
            self._lint(item, source, here, context)
        known = {file.key: file for file in seen.same}
        files = [known.get(file.key, file) for file in files]
        plan = make_plan(item, (source, destination), (here, there), files, seen, self._order)
        if plan.data["files_not_in_source"]:
            context.progress.note(
                f"{destination.place.url} holds {plan.data['files_not_in_source']} files "
                "that the source does not have; they stay"
            )
        trail = Trail.of(context)
        trail.begin(files, self._order)
        trail.saw(seen)
        return plan

    def _lint(self, item: PromotionItem, source: Bucket, here: Listing, context: Context) -> None:
        """Look at the build that is to be promoted, and say what is wrong with it.

        Raises:
            LintFailed: findings are errors, and there are some.
        """
        level = item.options.get("lint", LEVELS[0])
        if level == "off":
            return
        thorough = level == "strict" or item.deep
        order, patience = self._order, self.patience
        try:
            found = inspect(source, here.files, here.markers, order, thorough, context, patience)
        except (EndpointDenied, EndpointFailed) as error:
            if level == "strict":
                raise
            # Whoever copies may be allowed what whoever lists is not, and guards its copies.
            context.progress.note(f"the build was not looked at: {error.message}")
            return
        conclude(found, level, source.place, context)

    def stage(self, plan: Plan, context: Context) -> None:
        transfer = self._transfer(plan, context)
        trail = transfer.trail
        seen = trail.seen if trail.fresh and trail.seen else transfer.look(trail.files)
        hidden = {file.key for file in trail.hidden}
        context.progress.total(sum(file.size for file in trail.files))
        context.progress.present(sum(file.size for file in seen.same if file.key in hidden))
        todo = hidden - {key for key, copied in trail.written.items() if copied.made}
        copies = [copy for copy in transfer.copies(seen) if copy.file.key in todo]
        if copies:
            transfer.bring(copies)
            transfer.prove(trail.hidden)
            trail.saw()

    def publish(self, plan: Plan, context: Context) -> None:
        transfer = self._transfer(plan, context)
        trail = transfer.trail
        # Assets are missing only when they went away after they were staged.
        seen = transfer.look_at(trail.entries) if trail.fresh else transfer.look(trail.files)
        copies = transfer.copies(seen)
        entries = {file.key for file in trail.entries}
        context.progress.present(sum(file.size for file in seen.same if file.key in entries))
        late = [copy for copy in copies if copy.file.key not in entries]
        if late:
            transfer.bring(late)
            transfer.prove(trail.hidden)
        transfer.bring([copy for copy in copies if copy.file.key in entries])

    def verify(self, plan: Plan, context: Context) -> str:
        """Return the plan's digest when every file is there and is the source's.

        Never made from the destination's entity tags, which may differ for equal files.

        Raises:
            VerificationFailed: some file is not; names a few.
        """
        transfer = self._transfer(plan, context)
        trail = transfer.trail
        proved = {file.key: file for file in transfer.prove(trail.files).same}
        trail.files = [proved[file.key] for file in trail.files]
        return plan.digest

    def manifest(self, plan: Plan, context: Context) -> Iterator[Mapping[str, JSON]]:
        return manifest_rows(self._trail(plan, context))

    def parse_name(self, text: str) -> ArtifactRef:
        return references.parse_name(text)

    def plan_activation(self, item: PromotionItem, context: Context) -> Plan:
        return self._switch(item, context).plan(item, context)

    def activate(self, plan: Plan, context: Context) -> None:
        self._switch(plan.item, context).activate(plan, context)

    def verify_activation(self, plan: Plan, context: Context) -> str:
        return self._switch(plan.item, context).verify(plan, context)

    def describe(self, endpoint: SpaEndpoint) -> str:
        where = f"{endpoint.endpoint_url}/" if endpoint.endpoint_url else "s3://"
        return f"{where}*-{endpoint.suffix}"

    def same(self, source: SpaEndpoint, destination: SpaEndpoint) -> bool:
        """Return whether both mean the same buckets, under whatever identity."""
        return (source.suffix, source.address) == (destination.suffix, destination.address)

    def close(self) -> None:
        self._opening.close()
        self._buckets.close()

    def _switch(self, item: PromotionItem, context: Context) -> Switch:
        return self._opening.switch(item, self._endpoint(item.destination), self.patience, context)

    def _transfer(self, plan: Plan, context: Context) -> Transfer:
        source, destination = self._open(plan.item, context)
        return Transfer(
            source,
            destination,
            self._copiers(plan.item, source, destination),
            self._order,
            self.patience,
            plan.item.replace,
            self._trail(plan, context),
            context,
        )

    def _trail(self, plan: Plan, context: Context) -> Trail:
        trail = Trail.of(context)
        if not trail.files:
            trail.begin(_files(plan), self._order)
        return trail

    def _copiers(self, item: PromotionItem, source: Bucket, destination: Bucket) -> list[Copier]:
        """Return what may be able to copy, what is fastest first."""
        one, other = self._endpoint(item.source), self._endpoint(item.destination)
        settings = self.settings
        copiers: list[Copier] = []
        if one.address == other.address:
            pace = Pace(settings.concurrency, settings.copies_per_second)
            copiers.append(
                ServerSideCopier(
                    source,
                    destination,
                    pace,
                    self.patience,
                    tags=settings.copy_tags,
                    limit=settings.single_copy_limit,
                )
            )
        if one.identity != other.identity:
            copiers.append(
                StreamingCopier(source, destination, settings.concurrency, tags=settings.copy_tags)
            )
        return copiers

    def _open(self, item: PromotionItem, context: Context) -> tuple[Bucket, Bucket]:
        places = self._place(item, "source"), self._place(item, "destination")
        ends = self._endpoint(item.source), self._endpoint(item.destination)
        return both(
            context,
            lambda: self._buckets.open(places[0], ends[0]),
            lambda: self._buckets.open(places[1], ends[1]),
            "open",
            within=OPEN_WITHIN,
            late=lambda first: unreachable(
                places[0 if first else 1], f"no answer within {OPEN_WITHIN:.0f} seconds"
            ),
        )

    def _place(self, item: PromotionItem, role: str) -> Place:
        environment = item.source if role == "source" else item.destination
        endpoint = self._endpoint(environment)
        bucket = bucket_name(item.ref.name, endpoint.suffix)
        owner = endpoint.bucket_owner or ""
        return Place(role, environment, bucket, f"{item.ref.version}/", owner)

    def _endpoint(self, environment: str) -> SpaEndpoint:
        endpoint = self.endpoints.get(environment)
        if endpoint is None:
            raise EndpointNotFound(
                f"the environment {environment} has no place for SPA builds",
                fix=f"set [environments.{environment}.spa] suffix in the server's settings",
            )
        return endpoint


def _files(plan: Plan) -> list[File]:
    try:
        return from_rows(plan.data)
    except ValueError as error:
        raise InternalError(f"the plan of {plan.item.text} can't be read: {error}") from error


def _nothing(place: Place, listing: Listing) -> ArtifactNotFound:
    only = f" but {listing.markers} folder markers" if listing.markers else ""
    return ArtifactNotFound(
        f"there is no such SPA build in {place.environment}: {place.url} holds no file{only}",
        fix="check the version and the source environment",
    )
