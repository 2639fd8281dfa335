"""What client and server agree on about sizes and clocks. Sizes are bytes, times seconds."""

from __future__ import annotations

from typing import Final

#: Longest token looked at. Checking a signature costs time in proportion.
MAX_TOKEN: Final = 8 * 1024

#: Largest request. The largest one that makes sense is far smaller.
MAX_REQUEST: Final = 1024 * 1024

#: Largest answer. A plan lists steps.
MAX_RESPONSE: Final = 16 * 1024 * 1024

#: Headers of a call. Between gRPC's soft and hard limit rejection is random, so that both
#: are set to this; a token of `MAX_TOKEN` fits.
MAX_METADATA: Final = 32 * 1024

#: How far two clocks may differ when the times in a token are checked.
LEEWAY: Final = 30

#: How long a token may be good for, unless a server says otherwise: what Dex makes.
MAX_TOKEN_LIFETIME: Final = 24 * 3600
