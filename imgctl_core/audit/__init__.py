"""The audit log: JSON lines, append-only, each chained to the one before it.

`AuditLog` writes it, `read` and `verify` read it. `chain` has the form of a record, `file` the
file under the writer, `tail` how a file ends, `opening` what is said of one that isn't as it was
left, `copies` and `sinks` what else gets every record, `unfinished` what a crash left open.
"""

from __future__ import annotations

from imgctl_core.audit.chain import GENESIS, SCHEMA, chain_hash
from imgctl_core.audit.log import AuditLog
from imgctl_core.audit.places import default_audit_log
from imgctl_core.audit.reading import Verification, read, verify

__all__ = [
    "GENESIS",
    "SCHEMA",
    "AuditLog",
    "Verification",
    "chain_hash",
    "default_audit_log",
    "read",
    "verify",
]
