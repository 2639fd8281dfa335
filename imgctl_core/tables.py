"""Tables of the server's settings about what guards it: its audit log, and its limits."""

from __future__ import annotations

from logging.handlers import SysLogHandler
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from imgctl_core.audit.sinks import SyslogAddress
from imgctl_core.errors import InvalidSetting
from imgctl_core.layers import Table, Words


class AuditTable(Table):
    """`[audit]`: when the log begins a new file, and what else gets its records.

    `max_bytes` 0 is never. `required` names the copies without which nothing is promoted.
    """

    prefix: ClassVar[str] = "IMGCTL_AUDIT_"

    max_bytes: int = Field(default=0, ge=0)
    stdout: bool = False
    syslog: str = ""
    syslog_facility: str = "authpriv"
    required: Words = ()

    @field_validator("syslog")
    @classmethod
    def _address(cls, value: str) -> str:
        if value:
            try:
                SyslogAddress.parse(value)
            except InvalidSetting as error:
                raise ValueError(f"is wrong: {error.fix}") from None
        return value

    @field_validator("syslog_facility")
    @classmethod
    def _facility(cls, value: str) -> str:
        if value not in SysLogHandler.facility_names:
            raise ValueError(f"is none of {', '.join(sorted(SysLogHandler.facility_names))}")
        return value

    @model_validator(mode="after")
    def _required_are_there(self) -> Self:
        there = {"stdout": self.stdout, "syslog": bool(self.syslog)}
        for name in self.required:
            if not there.get(name):
                raise ValueError(f"required names {name!r}, and the log is not copied there")
        return self


class LimitsTable(Table):
    """`[limits]`: calls a second that one peer and one actor may make, and how many at once.

    A rate of 0 is no limit. A peer is a host; everything behind one proxy is one peer.
    """

    prefix: ClassVar[str] = "IMGCTL_LIMITS_"

    peer_rate: float = Field(default=200, ge=0, allow_inf_nan=False)
    peer_burst: int = Field(default=2000, ge=1)
    actor_rate: float = Field(default=50, ge=0, allow_inf_nan=False)
    actor_burst: int = Field(default=500, ge=1)
