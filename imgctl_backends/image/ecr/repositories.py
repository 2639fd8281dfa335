"""What only ECR's own API tells and does: repositories, layers in bulk, whether mounts work."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from imgctl_backends.image.content.manifests import Descriptor
from imgctl_backends.image.ecr.account import EcrAccount, EcrRefused
from imgctl_backends.image.ecr.template import RepositoryTemplate
from imgctl_backends.image.wire.rate_table import Action
from imgctl_backends.image.wire.rates import Limits, Pausing
from imgctl_core.errors import EndpointDenied, EndpointFailed, ImgctlError

#: BatchCheckLayerAvailability takes no more digests than that in one call.
LAYERS_PER_CALL: Final = 100

#: What the API said is believed for this long.
_BELIEVED_SECONDS: Final = 60.0

_NO_REPOSITORY: Final = "RepositoryNotFoundException"
_THROTTLED_TRIES: Final = 5

Creation = RepositoryTemplate | Literal["on-push"] | None


class EcrRepositories:
    """The repositories of an ECR registry. Safe to share between threads.

    The rights that this API needs are others than those of a push. Where one is missing
    we do without: presence is asked by HEAD, a missing repository shows itself at the
    first upload, and nothing is mounted.
    """

    def __init__(
        self,
        account: EcrAccount,
        creation: Creation,
        limits: Limits,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self._creation = creation
        self._limits = limits
        self._now = now
        self._lock = threading.Lock()
        self._creating = threading.Lock()
        self._asking = threading.Lock()
        self._seen: dict[str, float] = {}
        self._mounts: tuple[bool, float] | None = None
        self._no_layers_until = 0.0

    @property
    def place(self) -> tuple[str, str, str]:
        return self._account.place

    def missing(self, flight: Pausing, name: str) -> bool:
        """Return whether a repository must be created, and by us, before a push.

        Raises:
            EndpointFailed: it is missing, and may not be created.
        """
        if self._creation == "on-push" or self._exists(flight, name):
            return False
        if self._creation is None:
            raise EndpointFailed(
                f"the registry {self._account} has no repository {name}",
                fix="create the repository with the settings that it should have, or let "
                "create_repositories of the endpoint say how",
            )
        return True

    def create(self, flight: Pausing, name: str) -> bool:
        """Create a repository from the template. Return False if somebody else did.

        Raises:
            ImgctlError: it can't be created, or not as the template says; then it is
                taken away again.
        """
        if not isinstance(self._creation, RepositoryTemplate):
            raise EndpointFailed(f"the registry {self._account} has no repository {name}")
        template = self._creation
        with self._creating:
            flight.check()
            if self._known(name):
                return False
            try:
                asked = {**_request(name, template), **self._account.ids}
                self._call("create a repository", lambda api: api.create_repository(**asked))
            except EcrRefused as refused:
                if refused.code != "RepositoryAlreadyExistsException":
                    raise self._not_created(name, refused) from refused
                self._remember(name)
                return False
            try:
                self._set_policies(name, template)
            except (EcrRefused, ImgctlError) as error:
                self._take_away(name)
                if isinstance(error, EcrRefused):
                    raise self._not_created(name, error) from error
                raise
            self._remember(name)
            return True

    def layers(self, flight: Pausing, name: str, blobs: Sequence[Descriptor]) -> list[bool] | None:
        """Return which blobs are there, None when the API does not tell us.

        At most `LAYERS_PER_CALL` of them.
        """
        if self._now() < self._no_layers_until:
            return None
        digests = list(dict.fromkeys(blob.digest for blob in blobs))
        try:
            answer = self._paced(
                flight,
                "batch_check_layer_availability",
                "look for layers",
                lambda api: api.batch_check_layer_availability(
                    repositoryName=name, layerDigests=digests, **self._account.ids
                ),
            )
        except EcrRefused as refused:
            if refused.code == _NO_REPOSITORY:
                return [False] * len(blobs)
            self._no_layers_until = self._now() + _BELIEVED_SECONDS
            return None
        except ImgctlError:
            self._no_layers_until = self._now() + _BELIEVED_SECONDS
            return None
        sizes = {
            str(layer.get("layerDigest")): layer.get("layerSize")
            for layer in answer.get("layers", [])
            if layer.get("layerAvailability") == "AVAILABLE"
        }
        return [blob.digest in sizes and sizes[blob.digest] in (None, blob.size) for blob in blobs]

    def may_mount(self) -> bool:
        """Return whether the account has blob mounting switched on (BLOB_MOUNTING)."""
        # One thread asks, the others that want to know wait for its answer.
        with self._asking:
            if self._mounts is None or self._now() >= self._mounts[1]:
                self._mounts = self._mounting_enabled(), self._now() + _BELIEVED_SECONDS
            return self._mounts[0]

    def close(self) -> None:
        self._account.close()

    def _mounting_enabled(self) -> bool:
        try:
            answer = self._call(
                "read an account setting",
                lambda api: api.get_account_setting(name="BLOB_MOUNTING"),
            )
        except (EcrRefused, ImgctlError, AttributeError):
            # An old boto3 has no such call, an old region no such setting.
            return False
        return bool(answer.get("value") == "ENABLED")

    def _exists(self, flight: Pausing, name: str) -> bool:
        if self._known(name):
            return True
        flight.check()
        try:
            self._call(
                "look for a repository",
                lambda api: api.describe_repositories(repositoryNames=[name], **self._account.ids),
            )
        except EcrRefused as refused:
            # Without the right to ask, the first upload will tell.
            return refused.code != _NO_REPOSITORY
        self._remember(name)
        return True

    def _set_policies(self, name: str, template: RepositoryTemplate) -> None:
        named = {"repositoryName": name, **self._account.ids}
        if (lifecycle := template.lifecycle_policy) is not None:
            self._call(
                "set a lifecycle policy",
                lambda api: api.put_lifecycle_policy(lifecyclePolicyText=lifecycle, **named),
            )
        if (policy := template.repository_policy) is not None:
            self._call(
                "set a repository policy",
                lambda api: api.set_repository_policy(policyText=policy, **named),
            )

    def _take_away(self, name: str) -> None:
        # Without `force` only an empty one goes.
        with contextlib.suppress(EcrRefused, ImgctlError):
            self._call(
                "delete a repository",
                lambda api: api.delete_repository(repositoryName=name, **self._account.ids),
            )

    def _not_created(self, name: str, refused: EcrRefused) -> ImgctlError:
        message = (
            f"the repository {name} can't be created in the registry {self._account} as "
            f"create_repositories says ({refused})"
        )
        if "AccessDenied" in refused.code:
            return EndpointDenied(
                message,
                fix="the server's AWS identity needs ecr:CreateRepository, ecr:TagResource, "
                "ecr:PutLifecyclePolicy and ecr:SetRepositoryPolicy, as far as the template "
                "uses them",
            )
        return EndpointFailed(message, fix="correct create_repositories of the endpoint")

    def _paced(
        self, flight: Pausing, action: Action, doing: str, operation: Callable[[Any], Any]
    ) -> Any:
        tries = 0
        while True:
            sent = self._limits.pace(flight, (action,))
            try:
                return self._call(doing, operation)
            except EcrRefused as refused:
                tries += 1
                if not refused.throttled or tries >= _THROTTLED_TRIES:
                    raise
                self._limits.throttled((action,), sent)

    def _call(self, doing: str, operation: Callable[[Any], Any]) -> Any:
        return self._account.call(doing, operation)

    def _known(self, name: str) -> bool:
        with self._lock:
            return self._now() < self._seen.get(name, float("-inf"))

    def _remember(self, name: str) -> None:
        with self._lock:
            self._seen[name] = self._now() + _BELIEVED_SECONDS


def _request(name: str, template: RepositoryTemplate) -> dict[str, Any]:
    """Return CreateRepository's parameters."""
    encryption = {"encryptionType": "AES256"}
    if template.kms_key is not None:
        encryption = {"encryptionType": "KMS", "kmsKey": template.kms_key}
    asked: dict[str, Any] = {
        "repositoryName": name,
        "imageTagMutability": template.mutability,
        "imageScanningConfiguration": {"scanOnPush": template.scan_on_push},
        "encryptionConfiguration": encryption,
        "tags": [{"Key": key, "Value": value} for key, value in template.tags.items()],
    }
    if template.exclusions:
        asked["imageTagMutabilityExclusionFilters"] = [
            {"filterType": "WILDCARD", "filter": text} for text in template.exclusions
        ]
    return asked
