"""The promoter of kind `spa`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from imgctl_backends.spa import references
from imgctl_backends.spa.bucket import Bucket, Buckets
from imgctl_backends.spa.compare import Comparer, Comparison
from imgctl_backends.spa.copy import Copier, ServerSideCopier
from imgctl_backends.spa.endpoint import SpaEndpoint, SpaSettings
from imgctl_backends.spa.faults import unreachable
from imgctl_backends.spa.listing import Listing, list_version
from imgctl_backends.spa.manifest import File, digest, from_rows, to_rows
from imgctl_backends.spa.order import entry_waves, is_entry_point, wave
from imgctl_backends.spa.pace import Patience
from imgctl_backends.spa.references import Place, bucket_name
from imgctl_backends.spa.sources import identified
from imgctl_backends.spa.stream import StreamingCopier
from imgctl_backends.spa.transfer import Transfer, conflict, count
from imgctl_backends.spa.waiting import both
from imgctl_core import ArtifactRef, Context, Plan, Promoter, PromotionItem, Step
from imgctl_core.errors import ArtifactNotFound, EndpointNotFound, InternalError

#: Seconds that opening both buckets may take before an endpoint counts as unreachable.
OPEN_WITHIN: Final = 20.0
#: More files than anybody reads: the assets among them become one line of the plan.
_MOST_STEPS: Final = 1000


class SpaPromoter(Promoter[SpaEndpoint, SpaSettings]):
    """Promotes `spa:<name>:<version>` from bucket to bucket.

    A version is everything under `<version>/` in the bucket `<name>-<suffix>`. Files
    that exist at the destination and are the same are left alone; one that differs is a
    conflict; nothing is ever deleted. Assets go in `stage`, which shows nothing to
    anybody, because nothing names them yet; entry points go in `publish`.
    """

    kind: ClassVar[str] = references.KIND
    family: ClassVar[str] = "SPA"
    family_field: ClassVar[str] = "suffix"

    Endpoint = SpaEndpoint
    Settings = SpaSettings

    def __init__(self, settings: SpaSettings, endpoints: Mapping[str, SpaEndpoint]) -> None:
        super().__init__(settings, endpoints)
        self.patience = Patience()
        self._buckets = Buckets()

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
            raise conflict(destination, [file.key for file, _ in seen.different])
        return _plan(item, source, destination, (here, there), files, seen, context)

    def stage(self, plan: Plan, context: Context) -> None:
        transfer = self._transfer(plan, context)
        files = _files(plan)
        assets = [file for file in files if not is_entry_point(file.key)]
        context.progress.total(sum(file.size for file in files))
        seen = transfer.look(assets)
        copies = transfer.copies(seen)
        context.progress.present(sum(file.size for file in seen.same))
        if copies:
            transfer.prove(assets, transfer.bring(copies))

    def publish(self, plan: Plan, context: Context) -> None:
        transfer = self._transfer(plan, context)
        files = _files(plan)
        seen = transfer.look(files)
        copies = {copy.file.key: copy for copy in transfer.copies(seen)}
        context.progress.present(sum(f.size for f in seen.same if is_entry_point(f.key)))
        # Assets are here only when they went away, or changed, after they were staged.
        written = transfer.bring([c for key, c in copies.items() if not is_entry_point(key)])
        if written:
            transfer.prove([file for file in files if not is_entry_point(file.key)], written)
        for keys in entry_waves(copies):
            context.check()
            written = transfer.bring([copies[key] for key in keys])
            refused = [key for key, etag in written.items() if not etag]
            if refused:
                transfer.prove([copies[key].file for key in refused], dict.fromkeys(refused, ""))

    def verify(self, plan: Plan, context: Context) -> str:
        """Return the plan's digest when every file is there and is the source's.

        Never made from the destination's entity tags, which may differ for equal files.

        Raises:
            VerificationFailed: some file is not; names a few.
        """
        self._transfer(plan, context).prove(_files(plan))
        return plan.digest

    def describe(self, endpoint: SpaEndpoint) -> str:
        where = f"{endpoint.endpoint_url}/" if endpoint.endpoint_url else "s3://"
        return f"{where}*-{endpoint.suffix}"

    def same(self, source: SpaEndpoint, destination: SpaEndpoint) -> bool:
        """Return whether both mean the same buckets, under whatever identity."""
        return (source.suffix, source.address) == (destination.suffix, destination.address)

    def close(self) -> None:
        self._buckets.close()

    def _transfer(self, plan: Plan, context: Context) -> Transfer:
        source, destination = self._open(plan.item, context)
        copier = self._copier(plan.item, source, destination)
        return Transfer(source, destination, copier, self.patience, plan.item.replace, context)

    def _copier(self, item: PromotionItem, source: Bucket, destination: Bucket) -> Copier:
        one, other = self._endpoint(item.source), self._endpoint(item.destination)
        if one.identity == other.identity:
            return ServerSideCopier(source, destination, self.settings, self.patience)
        return StreamingCopier(source, destination, self.settings)

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


def _plan(
    item: PromotionItem,
    source: Bucket,
    destination: Bucket,
    listings: tuple[Listing, Listing],
    files: Sequence[File],
    seen: Comparison,
    context: Context,
) -> Plan:
    here, there = listings
    total, present = digest(files), sum(file.size for file in seen.same)
    known = {file.key: file for file in seen.same}
    extra = there.files.keys() - here.files.keys()
    if extra:
        context.log.warning(
            "%s holds %d files that the source does not have; they stay",
            destination.place.url,
            len(extra),
        )
    copied = [*seen.missing, *(file for file, _ in seen.different)]
    return Plan(
        item=item,
        digest=total,
        current=_current(total, destination, there, seen),
        bytes_to_copy=sum(file.size for file in copied),
        bytes_present=present,
        steps=_steps(seen),
        data={
            "source": source.place.url,
            "destination": destination.place.url,
            "markers_skipped": here.markers,
            "files_not_in_source": len(extra),
            "files": to_rows(known.get(file.key, file) for file in files),
        },
    )


def _current(total: str, destination: Bucket, there: Listing, seen: Comparison) -> str | None:
    """Return the digest of what people get at the destination, None when it is nothing.

    Assets alone are nothing: no entry point names them yet.
    """
    if not seen.missing and not seen.different:
        return total
    if not seen.different and not any(is_entry_point(key) for key in there.files):
        return None
    return digest(
        File(key, row.size, row.etag, f"etag:{row.etag}") for key, row in there.files.items()
    )


def _steps(seen: Comparison) -> tuple[Step, ...]:
    copied = [Step("copy", file.key, file.size) for file in seen.missing]
    replaced = [Step("replace", file.key, file.size) for file, _ in seen.different]
    steps = copied + replaced
    if len(steps) > _MOST_STEPS:
        assets = [step for step in copied if not is_entry_point(step.subject)]
        named = set(assets)
        steps = [step for step in steps if step not in named]
        steps.append(Step("copy", count(len(assets)), sum(step.bytes for step in assets)))
    return tuple(sorted(steps, key=lambda step: (wave(step.subject), step.subject)))


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
