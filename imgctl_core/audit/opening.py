"""The one record that says how a log was found, when it isn't as it was left."""

from __future__ import annotations

from collections.abc import Sequence

from imgctl_core.audit.chain import Link
from imgctl_core.audit.tail import Tail
from imgctl_core.models import JSON


def opening(
    stands: Link,
    tail: Tail,
    unfinished: Sequence[JSON],
    previous: str = "",
    cut: tuple[int, int] | None = None,
) -> tuple[str, dict[str, JSON]] | None:
    """Return the event and the fields of a log's next record, None when there is nothing to say.

    All of it is one record: a crash between two would leave the half of it.

    Args:
        stands: where the chain stands.
        tail: how the file ends in which it goes on.
        unfinished: the promotions that are under way.
        previous: the name of the file that the last record is in, if that is another one.
        cut: how many bytes the file should have and has, if somebody made it shorter.
    """
    event, fields = "", dict[str, JSON]()
    if (tail.link or Link()) != stands:
        event = "audit.rotated"
        fields |= {"previous_seq": stands.seq, "previous_file": previous}
    if tail.torn is not None:
        event = "audit.recovered"
        fields["torn_sha256"] = tail.torn_sha256
    if cut is not None:
        event = "audit.truncated"
        fields |= {"expected_bytes": cut[0], "found_bytes": cut[1]}
    return (event, {**fields, "unfinished": [*unfinished]}) if event else None
