"""The service's methods: from a request to the engine, and back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc

from imgctl_core import errors, validate
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto import imgctl_pb2_grpc
from imgctl_core.access import AuthReport
from imgctl_core.context import CancelToken
from imgctl_core.errors import Cancelled, DeadlineExceeded, ImgctlError, PromotionError
from imgctl_core.models import (
    ManifestRow,
    Outcome,
    PlanReport,
    Promotion,
    PromotionRequest,
    Request,
)
from imgctl_core.server import convert
from imgctl_core.server.caller import Caller, current
from imgctl_core.server.limits import (
    MANIFEST_SECONDS,
    PLAN_SECONDS,
    PROMOTE_SECONDS,
    Capacity,
    Seats,
    time_limit,
)
from imgctl_core.server.paging import pages
from imgctl_core.server.ports import Catalogue, Engine
from imgctl_core.server.records import Records

_LOG = logging.getLogger("imgctl.server")

_BY_OUTCOME: Final[dict[Outcome, type[ImgctlError]]] = {
    Outcome.CANCELLED: Cancelled,
    Outcome.DENIED: errors.NotAuthorized,
    Outcome.CONFLICT: errors.Conflict,
}


class Servicer(imgctl_pb2_grpc.ImgCtlServicer):
    """Thin: it checks, converts and waits. What a promotion is, the engine knows."""

    def __init__(
        self,
        engine: Engine,
        catalogue: Catalogue,
        records: Records,
        capacity: Capacity,
        *,
        version: str = "",
        promote_seconds: float = PROMOTE_SECONDS,
        plan_seconds: float = PLAN_SECONDS,
        manifest_seconds: float = MANIFEST_SECONDS,
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._records = records
        self._version = version
        self._promote_seconds = promote_seconds
        self._plan_seconds = plan_seconds
        self._manifest_seconds = manifest_seconds
        self._promotes = Seats(capacity.promotes, "waiting promotion")
        self._plans = Seats(capacity.plans, "plan")
        self._watches = Seats(capacity.watches, "watcher")
        self._manifests = Seats(capacity.manifests, "manifest")

    def Promote(  # noqa: N802 - the contract's names
        self, request: pb.PromoteRequest, context: grpc.ServicerContext
    ) -> pb.PromoteResponse:
        caller = current()
        asked = convert.request_of(request)
        with self._promotes.taken():
            started = self._engine.start(asked, caller.actor, caller.peer)
            ended = self._wait(started.id, caller, context)
        if ended.outcome is None or not ended.outcome.good:
            raise _error_of(ended)
        return pb.PromoteResponse(promotion=convert.promotion(ended))

    def StartPromotion(  # noqa: N802
        self, request: pb.StartPromotionRequest, context: grpc.ServicerContext
    ) -> pb.StartPromotionResponse:
        caller = current()
        started = self._engine.start(convert.request_of(request), caller.actor, caller.peer)
        return pb.StartPromotionResponse(promotion=convert.promotion(started))

    def WatchPromotion(  # noqa: N802
        self, request: pb.WatchPromotionRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchPromotionResponse]:
        return self._messages(validate.promotion_id(request.id), current(), context)

    def CancelPromotion(  # noqa: N802
        self, request: pb.CancelPromotionRequest, context: grpc.ServicerContext
    ) -> pb.CancelPromotionResponse:
        caller = current()
        found = self._engine.cancel(validate.promotion_id(request.id), caller.actor, caller.peer)
        return pb.CancelPromotionResponse(promotion=convert.promotion(found))

    def GetPromotion(  # noqa: N802
        self, request: pb.GetPromotionRequest, context: grpc.ServicerContext
    ) -> pb.GetPromotionResponse:
        caller = current()
        found = self._engine.get(validate.promotion_id(request.id), caller.actor, caller.peer)
        return pb.GetPromotionResponse(promotion=convert.promotion(found))

    def PlanPromotion(  # noqa: N802
        self, request: pb.PlanPromotionRequest, context: grpc.ServicerContext
    ) -> pb.PlanPromotionResponse:
        return convert.plan(self._plan(convert.request_of(request), context))

    def StartActivation(  # noqa: N802
        self, request: pb.StartActivationRequest, context: grpc.ServicerContext
    ) -> pb.StartActivationResponse:
        caller = current()
        started = self._engine.start(convert.activation_of(request), caller.actor, caller.peer)
        return pb.StartActivationResponse(promotion=convert.promotion(started))

    def PlanActivation(  # noqa: N802
        self, request: pb.PlanActivationRequest, context: grpc.ServicerContext
    ) -> pb.PlanActivationResponse:
        return convert.activation_plan(self._plan(convert.activation_of(request), context))

    def ExportPlan(  # noqa: N802
        self, request: pb.ExportPlanRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ExportPlanResponse]:
        return self._exported(convert.request_of(request), current(), context)

    def GetManifest(  # noqa: N802
        self, request: pb.GetManifestRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.GetManifestResponse]:
        caller = current()
        promotion_id, ref = validate.promotion_id(request.id), validate.item(request.ref)
        rows = self._engine.manifest(promotion_id, caller.actor, ref, caller.peer)
        return self._listed(rows, context)

    def AuthCheck(  # noqa: N802
        self, request: pb.AuthCheckRequest, context: grpc.ServicerContext
    ) -> pb.AuthCheckResponse:
        caller = current()
        asked = convert.explained_of(request)
        self._records.auth_checked(caller, asked)
        destinations = self._catalogue.destinations(caller.actor)
        explanation = self._catalogue.explain(asked, caller.actor) if asked is not None else None
        return convert.auth_check(
            AuthReport(caller.actor, destinations, self._version, explanation)
        )

    def ListEnvironments(  # noqa: N802
        self, request: pb.ListEnvironmentsRequest, context: grpc.ServicerContext
    ) -> pb.ListEnvironmentsResponse:
        return convert.environments(self._catalogue.environments(current().actor))

    def ListPlugins(  # noqa: N802
        self, request: pb.ListPluginsRequest, context: grpc.ServicerContext
    ) -> pb.ListPluginsResponse:
        return convert.plugins(self._catalogue.plugins())

    def _plan(self, asked: Request, context: grpc.ServicerContext) -> PlanReport:
        caller = current()
        with self._planning(context) as cancel:
            return self._engine.plan(asked, caller.actor, cancel, caller.peer)

    def _wait(self, promotion_id: str, caller: Caller, context: grpc.ServicerContext) -> Promotion:
        """Follow a promotion to its end, or as long as anybody waits for it."""
        gone = _gone(context)
        end = time.monotonic() + self._promote_seconds
        for event in self._engine.watch(promotion_id, caller.actor, gone, caller.peer):
            if isinstance(event, Promotion):
                return event
            if time.monotonic() >= end:
                raise DeadlineExceeded(
                    f"promotion {promotion_id} is still running, and one call may not wait longer",
                    fix=f"it goes on: follow it with `imgctl watch {promotion_id}`",
                    id=promotion_id,
                )
        if gone.is_set():
            raise Cancelled("the caller went away; the promotion goes on", id=promotion_id)
        raise RuntimeError(f"the watch of {promotion_id} ended without a result")

    @contextmanager
    def _planning(self, context: grpc.ServicerContext) -> Iterator[CancelToken]:
        """Hold a plan's seat, for as long as a plan may take."""
        limit = time_limit(
            context,
            self._plan_seconds,
            "the plan was not made",
            fix="plan fewer references at a time",
        )
        with self._plans.taken(), limit as cancel:
            yield cancel

    def _exported(
        self, asked: PromotionRequest, caller: Caller, context: grpc.ServicerContext
    ) -> Iterator[pb.ExportPlanResponse]:
        with self._planning(context) as cancel:
            report, rows = self._engine.export_plan(asked, caller.actor, cancel, caller.peer)
            sequence = 0
            for sequence, page in enumerate(pages(rows), start=1):
                yield convert.plan_page(sequence, page)
            yield convert.plan_end(sequence + 1, report)

    def _listed(
        self, rows: Iterator[ManifestRow], context: grpc.ServicerContext
    ) -> Iterator[pb.GetManifestResponse]:
        limit = time_limit(
            context,
            self._manifest_seconds,
            "the manifest was not read",
            fix="save it first and look at it then, or ask for one item at a time",
        )
        with self._manifests.taken(), limit as cancel:
            sequence = count = 0
            for sequence, page in enumerate(pages(rows), start=1):
                if cancel.cancelled:
                    return
                count += len(page)
                yield convert.manifest_page(sequence, page)
            yield convert.manifest_end(sequence + 1, count)

    def _messages(
        self, promotion_id: str, caller: Caller, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchPromotionResponse]:
        gone = _gone(context)
        with self._watches.taken():
            events = self._engine.watch(promotion_id, caller.actor, gone, caller.peer)
            for sequence, event in enumerate(events, start=1):
                if isinstance(event, Promotion):
                    yield pb.WatchPromotionResponse(
                        sequence=sequence, result=convert.promotion(event)
                    )
                    return
                yield pb.WatchPromotionResponse(sequence=sequence, progress=convert.progress(event))
        if not gone.is_set():
            raise RuntimeError(f"the watch of {promotion_id} ended without a result")


def _gone(context: grpc.ServicerContext) -> threading.Event:
    """Return an event that is set when the client has left.

    Without it the thread of a call that waits would be lost to the pool, and the process
    could not end.
    """
    gone = threading.Event()
    if not context.add_callback(gone.set):
        gone.set()
    return gone


def _error_of(promotion: Promotion) -> ImgctlError:
    """Return the error that a promotion with a bad outcome amounts to."""
    failure = next((item.error for item in promotion.items if item.error is not None), None)
    outcome = promotion.outcome or Outcome.FAILED
    by_outcome = _BY_OUTCOME.get(outcome, PromotionError)
    if failure is None:
        return by_outcome(f"promotion {promotion.id} ended {outcome.value}", id=promotion.id)
    cls = errors.error_for(failure.reason) or by_outcome
    return cls(failure.message, fix=failure.fix, id=failure.id or promotion.id)
