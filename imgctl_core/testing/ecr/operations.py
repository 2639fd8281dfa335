"""The operations of ECR's API that go with a promotion."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, cast, get_args

from imgctl_core.testing.ecr.access import USERNAME, EcrAccess
from imgctl_core.testing.ecr.repositories import Mutability, Repositories, RepositorySettings
from imgctl_core.testing.ecr.uploads import EcrUploads
from imgctl_core.testing.ecr.validator import Validator
from imgctl_core.testing.registry.errors import RegistryError
from imgctl_core.testing.registry.grammar import check_digest, check_name
from imgctl_core.testing.registry.state import State

_MOST_DIGESTS: Final = 100
_MOST_EXCLUSIONS: Final = 5
_SETTING: Final = "BLOB_MOUNTING"

_Parameters = Mapping[str, Any]
_Answer = dict[str, Any]


class ApiError(Exception):
    """Becomes an error of the API, under ECR's name for it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class Operations:
    """What each operation does."""

    def __init__(
        self,
        state: State,
        repositories: Repositories,
        validator: Validator,
        access: EcrAccess,
        uploads: EcrUploads,
        *,
        account: str,
        region: str,
        registry_url: Callable[[], str],
    ) -> None:
        self._state = state
        self._repositories = repositories
        self._validator = validator
        self._access = access
        self._uploads = uploads
        self._account = account
        self._region = region
        self._registry_url = registry_url
        self._table: Mapping[str, Callable[[_Parameters], _Answer]] = {
            "BatchCheckLayerAvailability": self._check_layers,
            "CreateRepository": self._create,
            "DescribeRepositories": self._describe,
            "GetAccountSetting": self._get_setting,
            "GetAuthorizationToken": self._token,
            "GetLifecyclePolicy": self._get_lifecycle,
            "GetRepositoryPolicy": self._get_policy,
            "ListTagsForResource": self._list_tags,
            "PutAccountSetting": self._put_setting,
            "PutImageScanningConfiguration": self._put_scanning,
            "PutImageTagMutability": self._put_mutability,
            "PutLifecyclePolicy": self._put_lifecycle,
            "SetRepositoryPolicy": self._put_policy,
            "TagResource": self._tag,
        }

    def run(self, operation: str, parameters: _Parameters) -> _Answer:
        """Do what is asked.

        Raises:
            ApiError: it can't be done, or nobody knows the operation.
        """
        found = self._table.get(operation)
        if found is None:
            raise ApiError("UnknownOperationException", f"there is no operation {operation}")
        return found(parameters)

    def _token(self, parameters: _Parameters) -> _Answer:
        login = f"{USERNAME}:{self._access.issue_password()}"
        data = {
            "authorizationToken": base64.b64encode(login.encode()).decode(),
            "expiresAt": time.time() + self._access.lifetime,
            "proxyEndpoint": self._registry_url(),
        }
        return {"authorizationData": [data]}

    def _describe(self, parameters: _Parameters) -> _Answer:
        self._check_registry(parameters, "")
        asked = parameters.get("repositoryNames")
        if asked:
            return {"repositories": [self._described(n, self._find(parameters, n)) for n in asked]}
        names = [n for n in self._repositories.names() if n > parameters.get("nextToken", "")]
        most = int(parameters.get("maxResults", 100))
        shown = [self._described(n, self._find(parameters, n)) for n in names[:most]]
        answer: _Answer = {"repositories": shown}
        if len(names) > most:
            answer["nextToken"] = names[most - 1]
        return answer

    def _create(self, parameters: _Parameters) -> _Answer:
        name = _text(parameters, "repositoryName")
        self._check_registry(parameters, name)
        settings = RepositorySettings()
        _set_mutability(settings, parameters)
        _set_scanning(settings, parameters)
        encryption = parameters.get("encryptionConfiguration", {})
        settings.encryption_type = encryption.get("encryptionType", "AES256")
        settings.kms_key = encryption.get("kmsKey", "")
        settings.tags = _tags(parameters)
        try:
            created = self._repositories.create(check_name(name), settings)
        except RegistryError as error:
            raise ApiError("InvalidParameterException", error.message) from None
        if not created:
            raise ApiError(
                "RepositoryAlreadyExistsException",
                f"The repository with name '{name}' already exists in the registry with id "
                f"'{self._account}'",
            )
        return {"repository": self._described(name, settings)}

    def _check_layers(self, parameters: _Parameters) -> _Answer:
        name = _text(parameters, "repositoryName")
        self._find(parameters, name)
        digests = parameters.get("layerDigests") or []
        if not 1 <= len(digests) <= _MOST_DIGESTS:
            raise ApiError(
                "InvalidParameterException",
                f"layerDigests has {len(digests)} members; it may have 1 to {_MOST_DIGESTS}",
            )
        unseen = self._validator.unseen(name, digests)
        layers, failures = [], []
        for digest in digests:
            failure = self._failure(name, digest)
            if failure:
                failures.append({"layerDigest": digest, **failure})
                continue
            layer = {
                "layerDigest": digest,
                "layerAvailability": "UNAVAILABLE" if digest in unseen else "AVAILABLE",
                "layerSize": self._state.storage.size(digest),
                "mediaType": "application/octet-stream",
            }
            layers.append(layer)
        return {"layers": layers, "failures": failures}

    def _failure(self, name: str, digest: str) -> dict[str, str]:
        try:
            check_digest(digest)
        except RegistryError as error:
            return {"failureCode": "InvalidLayerDigest", "failureReason": error.message}
        if self._state.has_blob(name, digest):
            return {}
        return {
            "failureCode": "MissingLayerDigest",
            "failureReason": f"Layer digest '{digest}' does not exist in the repository '{name}'",
        }

    def _put_mutability(self, parameters: _Parameters) -> _Answer:
        settings = self._named(parameters)
        _set_mutability(settings, parameters)
        return {"imageTagMutability": settings.mutability}

    def _put_scanning(self, parameters: _Parameters) -> _Answer:
        _set_scanning(self._named(parameters), parameters)
        return {"imageScanningConfiguration": parameters.get("imageScanningConfiguration", {})}

    def _put_lifecycle(self, parameters: _Parameters) -> _Answer:
        settings = self._named(parameters)
        settings.lifecycle_policy = _text(parameters, "lifecyclePolicyText")
        return {"lifecyclePolicyText": settings.lifecycle_policy}

    def _get_lifecycle(self, parameters: _Parameters) -> _Answer:
        text = self._named(parameters).lifecycle_policy
        if not text:
            raise ApiError("LifecyclePolicyNotFoundException", "there is no lifecycle policy")
        return {"lifecyclePolicyText": text}

    def _put_policy(self, parameters: _Parameters) -> _Answer:
        settings = self._named(parameters)
        settings.policy = _text(parameters, "policyText")
        return {"policyText": settings.policy}

    def _get_policy(self, parameters: _Parameters) -> _Answer:
        text = self._named(parameters).policy
        if not text:
            raise ApiError("RepositoryPolicyNotFoundException", "there is no policy")
        return {"policyText": text}

    def _tag(self, parameters: _Parameters) -> _Answer:
        settings = self._by_arn(parameters)
        settings.tags = {**settings.tags, **_tags(parameters)}
        return {}

    def _list_tags(self, parameters: _Parameters) -> _Answer:
        tags = self._by_arn(parameters).tags
        return {"tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def _get_setting(self, parameters: _Parameters) -> _Answer:
        name = _text(parameters, "name")
        if name != _SETTING:
            raise ApiError("InvalidParameterException", f"there is no setting {name}")
        return {"name": name, "value": "ENABLED" if self._uploads.blob_mounting else "DISABLED"}

    def _put_setting(self, parameters: _Parameters) -> _Answer:
        value = _text(parameters, "value")
        if value not in ("ENABLED", "DISABLED"):
            raise ApiError("InvalidParameterException", f"{_SETTING} can't be {value}")
        answer = self._get_setting(parameters)
        self._uploads.blob_mounting = value == "ENABLED"
        return {**answer, "value": value}

    def _named(self, parameters: _Parameters) -> RepositorySettings:
        return self._find(parameters, _text(parameters, "repositoryName"))

    def _by_arn(self, parameters: _Parameters) -> RepositorySettings:
        name = _text(parameters, "resourceArn").partition(":repository/")[2]
        return self._find(parameters, name)

    def _find(self, parameters: _Parameters, name: str) -> RepositorySettings:
        self._check_registry(parameters, name)
        found = self._repositories.find(name)
        if found is None:
            raise self._missing(name, self._account)
        return found

    def _check_registry(self, parameters: _Parameters, name: str) -> None:
        asked = parameters.get("registryId", self._account)
        if asked != self._account:
            raise self._missing(name, str(asked))

    def _missing(self, name: str, account: str) -> ApiError:
        return ApiError(
            "RepositoryNotFoundException",
            f"The repository with name '{name}' does not exist in the registry with id '{account}'",
        )

    def _described(self, name: str, settings: RepositorySettings) -> _Answer:
        host = self._registry_url().partition("://")[2]
        encryption = {"encryptionType": settings.encryption_type}
        if settings.kms_key:
            encryption["kmsKey"] = settings.kms_key
        described: _Answer = {
            "repositoryArn": f"arn:aws:ecr:{self._region}:{self._account}:repository/{name}",
            "registryId": self._account,
            "repositoryName": name,
            "repositoryUri": f"{host}/{name}",
            "createdAt": settings.created_at,
            "imageTagMutability": settings.mutability,
            "imageScanningConfiguration": {"scanOnPush": settings.scan_on_push},
            "encryptionConfiguration": encryption,
        }
        if settings.exclusions:
            described["imageTagMutabilityExclusionFilters"] = [
                {"filterType": "WILDCARD", "filter": pattern} for pattern in settings.exclusions
            ]
        return described


def _text(parameters: _Parameters, name: str) -> str:
    value = parameters.get(name)
    if not isinstance(value, str) or not value:
        raise ApiError("InvalidParameterException", f"{name} is missing")
    return value


def _tags(parameters: _Parameters) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in parameters.get("tags") or ()}


def _set_scanning(settings: RepositorySettings, parameters: _Parameters) -> None:
    scanning = parameters.get("imageScanningConfiguration") or {}
    settings.scan_on_push = bool(scanning.get("scanOnPush", False))


def _set_mutability(settings: RepositorySettings, parameters: _Parameters) -> None:
    mutability = parameters.get("imageTagMutability", "MUTABLE")
    filters = parameters.get("imageTagMutabilityExclusionFilters") or []
    if mutability not in get_args(Mutability):
        raise ApiError("InvalidParameterException", f"tags can't be {mutability}")
    if bool(filters) != mutability.endswith("_WITH_EXCLUSION") or len(filters) > _MOST_EXCLUSIONS:
        raise ApiError(
            "InvalidParameterException",
            f"{mutability} does not go with {len(filters)} exclusion filters",
        )
    settings.mutability = cast("Mutability", mutability)
    settings.exclusions = tuple(each["filter"] for each in filters)
