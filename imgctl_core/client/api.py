"""The calls, typed on both sides. No `grpc.RpcError` ever leaves this module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

import grpc

from imgctl_core import validate
from imgctl_core._proto import imgctl_pb2 as pb
from imgctl_core._proto.imgctl_pb2_grpc import ImgCtlStub
from imgctl_core.client import convert
from imgctl_core.client.channel import open_channel
from imgctl_core.client.target import Target, parse
from imgctl_core.errors import ImgctlError, NotAuthenticated, RequestError, StreamCut
from imgctl_core.wirelimits import MAX_TOKEN

if TYPE_CHECKING:
    from imgctl_core.access import AuthReport
    from imgctl_core.models import (
        ActivationRequest,
        EnvironmentInfo,
        ManifestRow,
        PlanReport,
        PluginInfo,
        Progress,
        Promotion,
        PromotionRequest,
    )

#: How long a plan may take, in seconds: the server looks at both endpoints for it.
PLAN_SECONDS: Final = 300.0

#: How long rows may take to come, in seconds, with a plan before them. The server's own
#: limit (`imgctl_core.server.limits`) is shorter, and its answer says more than ours.
ROWS_SECONDS: Final = 630.0

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class _Numbered(Protocol):
    @property
    def sequence(self) -> int: ...


NumberedT = TypeVar("NumberedT", bound=_Numbered)


class Client:
    """Calls one server. Safe to use from several threads; a context manager."""

    def __init__(self, target: Target, token: str | Callable[[], str]) -> None:
        """Take the server and the token, or what gives one; it is asked at every call.

        Nothing is connected before the first call.

        Raises:
            InvalidSetting: the address is no address, a token would travel there in
                clear, the CA file can't be used, or the socket is another user's.
        """
        self._target = target
        self._token = token
        self._endpoint = parse(target)
        self._channel = open_channel(target, self._endpoint)
        self._stub = ImgCtlStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connection."""
        self._channel.close()

    def start(self, request: PromotionRequest) -> Promotion:
        """Start a promotion and return it as it stands."""
        answer = self._call(self._stub.StartPromotion, convert.start_request(request))
        return convert.promotion(answer.promotion)

    def promote(self, request: PromotionRequest) -> Promotion:
        """Promote one reference and return the promotion when it is over.

        Raises:
            ImgctlError: the class says what kept it from being promoted.
            StreamCut: the connection was lost; the promotion may be running still.
        """
        with self._errors(lambda: self._cut("")):
            answer = self._stub.Promote(
                convert.promote_request(request), credentials=self._credentials()
            )
        ended = convert.promotion(answer.promotion)
        if ended.outcome is None or not ended.outcome.good:
            raise self._cut(ended.id)
        return ended

    def watch(self, promotion_id: str) -> Iterator[Progress | Promotion]:
        """Yield progress as it comes, and last the ended promotion.

        Raises:
            PromotionNotFound: no promotion ever has such an id; nothing was sent.
            StreamCut: the stream ended before that.
        """
        call = self._stub.WatchPromotion(
            pb.WatchPromotionRequest(id=validate.promotion_id(promotion_id)),
            credentials=self._credentials(),
        )
        try:
            for message in self._in_order(call, lambda: self._cut(promotion_id)):
                if message.HasField("result"):
                    ended = convert.promotion(message.result)
                    if ended.outcome is None:
                        raise self._cut(promotion_id)
                    yield ended
                    return
                yield convert.progress(message.progress)
        finally:
            call.cancel()

    def get(self, promotion_id: str) -> Promotion:
        """Return a promotion as it stands.

        Raises:
            PromotionNotFound: there is none of that id, or ever can be.
        """
        request = pb.GetPromotionRequest(id=validate.promotion_id(promotion_id))
        answer = self._call(self._stub.GetPromotion, request)
        return convert.promotion(answer.promotion)

    def cancel(self, promotion_id: str) -> Promotion:
        """Ask a promotion to stop, and return it as it stands.

        Raises:
            PromotionNotFound: there is none of that id, or ever can be.
        """
        request = pb.CancelPromotionRequest(id=validate.promotion_id(promotion_id))
        answer = self._call(self._stub.CancelPromotion, request)
        return convert.promotion(answer.promotion)

    def plan(self, request: PromotionRequest) -> PlanReport:
        """Return what a promotion would do. Nothing is written."""
        seconds = max(PLAN_SECONDS, self._target.timeout)
        answer = self._call(
            self._stub.PlanPromotion, convert.plan_request(request), seconds=seconds
        )
        return convert.plan(answer)

    def start_activation(self, request: ActivationRequest) -> Promotion:
        """Start making a version live, and return the promotion that this is as it stands."""
        answer = self._call(self._stub.StartActivation, convert.start_activation_request(request))
        return convert.promotion(answer.promotion)

    def plan_activation(self, request: ActivationRequest) -> PlanReport:
        """Return what making a version live would do. Nothing is written."""
        seconds = max(PLAN_SECONDS, self._target.timeout)
        answer = self._call(
            self._stub.PlanActivation, convert.plan_activation_request(request), seconds=seconds
        )
        return convert.activation_plan(answer)

    def export_plan(self, request: PromotionRequest) -> Iterator[ManifestRow | PlanReport]:
        """Yield every row of what a promotion would do, and last the plan itself.

        Raises:
            StreamCut: the stream ended before that.
        """
        call = self._stub.ExportPlan(
            convert.export_request(request), timeout=ROWS_SECONDS, credentials=self._credentials()
        )
        try:
            for message in self._in_order(call, lambda: self._cut_rows("the plan")):
                yield from map(convert.manifest_row, message.rows)
                if message.HasField("result"):
                    yield convert.plan(message.result)
                    return
        finally:
            call.cancel()

    def manifest(self, promotion_id: str, ref: str = "") -> Iterator[ManifestRow]:
        """Yield what an ended promotion left at its destination; of one item, or of all.

        Raises:
            ManifestNotFound: it has not ended, has no such item, or no manifest of it.
            StreamCut: the stream ended before all of it was there.
        """
        call = self._stub.GetManifest(
            pb.GetManifestRequest(id=validate.promotion_id(promotion_id), ref=validate.item(ref)),
            timeout=ROWS_SECONDS,
            credentials=self._credentials(),
        )
        count = 0
        try:
            for message in self._in_order(call, lambda: self._cut_rows("the manifest")):
                count += len(message.rows)
                yield from map(convert.manifest_row, message.rows)
                if message.HasField("end"):
                    if count != message.end.rows:
                        raise self._cut_rows("the manifest")
                    return
        finally:
            call.cancel()

    def environments(self) -> tuple[EnvironmentInfo, ...]:
        """Return the server's environments, with what the caller may do there."""
        answer = self._call(self._stub.ListEnvironments, pb.ListEnvironmentsRequest())
        return convert.environments(answer)

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Return the server's plugins and what became of them."""
        return convert.plugins(self._call(self._stub.ListPlugins, pb.ListPluginsRequest()))

    def auth_check(self, explained: PromotionRequest | None = None) -> AuthReport:
        """Return who the caller is to the server.

        With a request of one reference: also what every check says of it.

        Raises:
            RequestError: the server is too old to explain anything.
        """
        answer = self._call(self._stub.AuthCheck, convert.auth_check_request(explained))
        report = convert.auth_check(answer, explained)
        if report.explanation is not None and not report.explanation.decisions:
            raise RequestError(
                f"the server (version {report.server_version or 'unknown'}) can't explain yet",
                fix="ask for the plan instead, or have the server updated",
            )
        return report

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[RequestT, ResponseT],
        request: RequestT,
        *,
        seconds: float | None = None,
    ) -> ResponseT:
        credentials = self._credentials()
        with self._errors():
            return method(request, timeout=seconds or self._target.timeout, credentials=credentials)

    def _in_order(
        self, messages: Iterable[NumberedT], lost: Callable[[], StreamCut]
    ) -> Iterator[NumberedT]:
        """Yield the messages of a stream, whose reader stops at the one that is the last.

        Raises:
            StreamCut: one is missing.
        """
        with self._errors(lost):
            for expected, message in enumerate(messages, start=1):
                if message.sequence != expected:
                    break
                yield message
        raise lost()

    def _credentials(self) -> grpc.CallCredentials:
        token = self._token if isinstance(self._token, str) else self._token()
        if len(token) > MAX_TOKEN:
            raise NotAuthenticated(
                f"the token has {len(token)} bytes, and the server takes {MAX_TOKEN}",
                fix="it lists the groups you are in: ask for fewer groups in the token",
            )
        if not token or not all("!" <= char <= "~" for char in token):
            raise NotAuthenticated("what was given as a token is none", fix="log in again")
        return grpc.access_token_call_credentials(token)

    @contextmanager
    def _errors(self, lost: Callable[[], StreamCut] | None = None) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as failed:
            raise self._typed(failed, lost() if lost else None) from None

    def _typed(self, failed: Any, lost: StreamCut | None) -> ImgctlError:
        from imgctl_core.client import refusals

        return refusals.error_of(failed, self._target, self._endpoint, lost=lost)

    def _cut(self, promotion_id: str) -> StreamCut:
        from imgctl_core.client import refusals

        return refusals.cut(promotion_id)

    def _cut_rows(self, what: str) -> StreamCut:
        from imgctl_core.client import refusals

        return refusals.cut_rows(what)
