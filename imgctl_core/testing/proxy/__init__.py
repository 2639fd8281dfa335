"""A TCP proxy that makes a line bad: slow, narrow, cut, or dead silent.

Also a program, without pytest and without extras:
`python -m imgctl_core.testing.proxy 127.0.0.1:5000 --latency 0.05 --rate 1000000`.
"""

from __future__ import annotations

from imgctl_core.testing.proxy.app import FaultProxy
from imgctl_core.testing.proxy.line import Direction, Line

__all__ = ["Direction", "FaultProxy", "Line"]
