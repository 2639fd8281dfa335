"""A record in two keys of a CloudFront KeyValueStore, which functions at the edge read.

Every call names the store's entity tag, which changes with each write of any key. So a
write that is refused looks whether it is our keys that changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from botocore.exceptions import ClientError

from imgctl_backends.spa.live.calls import called
from imgctl_backends.spa.live.cloud import told
from imgctl_backends.spa.live.record import Record, Version
from imgctl_backends.spa.live.store import Seen, overtaken
from imgctl_backends.spa.references import is_version
from imgctl_backends.spa.wire.pace import Patience
from imgctl_core import Context
from imgctl_core.errors import EndpointFailed

_SERVICE: Final = "cloudfront-keyvaluestore"


class KeyValueStore:
    """A record as versions' names: `key` has what is live, `<key>.previous` what was before.

    `client` makes the client when it is needed.
    """

    def __init__(
        self, client: Callable[[], Any], arn: str, key: str, environment: str, patience: Patience
    ) -> None:
        self._client = client
        self._arn = arn
        self._key = key
        self._environment = environment
        self._patience = patience

    @property
    def where(self) -> str:
        return f"{self._key} in {self._arn}"

    def read(self, context: Context) -> Seen:
        return called(context, self._read)

    def write(self, record: Record, over: Seen, context: Context) -> Seen:
        failures = 0
        while True:
            try:
                with told(str(self), f"{_SERVICE}:UpdateKeys"):
                    return Seen(record, self._put(record, over.tag))
            except _Refused as refused:
                seen = self._read()
                failures += 1
                if not seen.record.agrees(over.record) or failures >= self._patience.attempts:
                    raise overtaken(self.where, self._environment) from refused
                over = seen
                context.cancel.wait(self._patience.delay(failures))

    def __str__(self) -> str:
        return f"the key value store {self._arn} (environment {self._environment})"

    def _read(self) -> Seen:
        # The tag first: whatever changes after it makes a write fail.
        with told(str(self), f"{_SERVICE}:DescribeKeyValueStore"):
            tag = self._client().describe_key_value_store(KvsARN=self._arn)["ETag"]
        record = Record(self._get(self._key), self._get(f"{self._key}.previous"))
        return Seen(record, tag)

    def _get(self, key: str) -> Version | None:
        with told(str(self), f"{_SERVICE}:GetKey"):
            try:
                value = self._client().get_key(KvsARN=self._arn, Key=key)["Value"]
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
                    return None
                raise
        if not is_version(value):
            raise EndpointFailed(
                f"{key} in {self} is {value[:200]!r}, which is no version",
                fix="set it to a version that is in the bucket, or remove it, or name another "
                f"kvs_key in [environments.{self._environment}.spa.live]",
            )
        return Version(value)

    def _put(self, record: Record, tag: str) -> str:
        values = {self._key: record.live, f"{self._key}.previous": record.previous}
        puts = [{"Key": key, "Value": value.name} for key, value in values.items() if value]
        try:
            answer = self._client().update_keys(KvsARN=self._arn, IfMatch=tag, Puts=puts)
        except ClientError as error:
            if _overtaken(error):
                raise _Refused from error
            raise
        return cast("str", answer["ETag"])


class _Refused(Exception):
    """The store has another entity tag by now."""


def _overtaken(error: ClientError) -> bool:
    said = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    unmet = said.get("Code") == "ValidationException" and "condition" in said.get("Message", "")
    return status in (409, 412) or said.get("Code") == "ConflictException" or unmet
