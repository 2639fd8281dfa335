from __future__ import annotations

import pytest

from imgctl_cli.display import size, span
from imgctl_core.text import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("team/app:v1.0.0", "team/app:v1.0.0"),
        ("Zoë Ångström 🚀", "Zoë Ångström 🚀"),
        ("\x1b[2Kpr\x1b[31mod", "\ufffd[2Kpr\ufffd[31mod"),
        ("a\nerror: b\r\tc", "a error: b  c"),
        ("\x9b31m\x7f\x00", "\ufffd31m\ufffd\ufffd"),
        ("app\u202egpj.exe\u2066x\u200f", "app\ufffdgpj.exe\ufffdx\ufffd"),
        ("one\u2028two\u2029\ufeff\ud800", "one\ufffdtwo\ufffd\ufffd\ufffd"),
    ],
)
def test_nothing_that_steers_a_terminal_is_left(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (999_940, "999.9 kB"),
        (999_960, "1.0 MB"),
        (41_200_000, "41.2 MB"),
        (3 * 10**18, "3000.0 PB"),
    ],
)
def test_sizes(count: int, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0 s"),
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (83_530, "23 h 12 min"),
        (86_400 + 61, "1 d 1 min"),
    ],
)
def test_spans(seconds: float, shown: str) -> None:
    assert span(seconds) == shown
