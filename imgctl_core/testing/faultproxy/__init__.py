"""An HTTP reverse proxy that lets chosen requests fail, in front of a real server.

Also a program, without pytest and without extras:
`python -m imgctl_core.testing.faultproxy http://127.0.0.1:5000 --rule '{"method": "GET",
"pattern": "/blobs/", "cut_after": 1000}'`.
"""

from __future__ import annotations

from imgctl_core.testing.faultproxy.app import HttpFaultProxy
from imgctl_core.testing.faultproxy.rules import Rule, parse_rule

__all__ = ["HttpFaultProxy", "Rule", "parse_rule"]
