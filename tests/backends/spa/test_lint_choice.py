"""Which files lint looks at."""

from __future__ import annotations

import random

from imgctl_backends.spa.lint.choice import (
    MOST_ENTRY_POINTS,
    MOST_OTHERS,
    MOST_TO_READ,
    Choice,
    choose,
)
from imgctl_backends.spa.lint.findings import Rule
from imgctl_backends.spa.manifest import File
from imgctl_backends.spa.order import Order
from imgctl_backends.spa.reading.pages import LARGEST

TAG = "0123456789abcdef" * 2


def choice(*keys: str | File, thorough: bool = False, order: Order | None = None) -> Choice:
    files = [key if isinstance(key, File) else File(key, 100, TAG) for key in keys]
    random.shuffle(files)
    return choose(files, order or Order(), thorough=thorough)


def keys(files: tuple[File, ...]) -> set[str]:
    return {file.key for file in files}


def test_a_small_build_is_looked_at_as_a_whole_and_each_file_once() -> None:
    chosen = choice("index.html", "app.webmanifest", "sw.js", "assets/main.3f2a9c1b.js", "a.css")
    assert keys(chosen.read) == {"index.html", "app.webmanifest"}
    assert keys(chosen.ask) == {"sw.js", "assets/main.3f2a9c1b.js", "a.css"}
    assert (chosen.unread, chosen.sampled) == (0, {})


def test_what_no_rule_is_about_is_not_looked_at() -> None:
    chosen = choice("logo.png", "robots.txt", "LICENSE", "assets/main.3f2a9c1b.js.map")
    assert (chosen.read, chosen.ask) == ((), ())


def test_empty_and_large_pages_are_asked_for_and_not_read() -> None:
    chosen = choice(File("index.html", 0, TAG), File("a.html", LARGEST + 1, TAG))
    assert (keys(chosen.read), keys(chosen.ask)) == (set(), {"index.html", "a.html"})


def test_no_kind_of_file_in_no_folder_is_left_out() -> None:
    many = [f"assets/{number:04}-3f2a9c1b.js" for number in range(2000)]
    few = [f"lazy/{number}/part-3f2a9c1b.js" for number in range(40)]
    single = ["assets/one-3f2a9c1b.css", "fonts/a-3f2a9c1b.woff2", "core-3f2a9c1b.wasm"]
    parts = File("assets/9999-3f2a9c1b.js", 10_000_000, f"{TAG}-2")
    chosen = choice(*many, *few, *single, parts)
    assert len(chosen.ask) == MOST_OTHERS
    assert {*few, *single, parts.key} <= keys(chosen.ask)
    assert chosen.sampled == {Rule.CONTENT_TYPE: 99, Rule.ASSET_NOT_IMMUTABLE: 100}


def test_more_folders_than_are_looked_at_leave_room_for_other_kinds() -> None:
    folders = [f"{number}/part-3f2a9c1b.js" for number in range(5000)]
    chosen = choice(*folders, "5/theme-3f2a9c1b.css", "core.wasm")
    assert len(chosen.ask) == MOST_OTHERS
    assert {"5/theme-3f2a9c1b.css", "core.wasm"} <= keys(chosen.ask)


def test_the_same_files_make_the_same_choice() -> None:
    names = [f"{number % 7}/{number}-3f2a9c1b.js" for number in range(1000)]
    names += [f"{number}.html" for number in range(300)]
    assert len({choice(*names).ask for _ in range(3)}) == 1
    assert len({choice(*names).read for _ in range(3)}) == 1


def test_of_many_pages_the_ones_nearest_to_the_root_are_read() -> None:
    deep = [f"{'a/' * (number % 5)}{number}.html" for number in range(500)]
    chosen = choice("index.html", "z/index.html", *deep)
    assert {"index.html", "z/index.html"} <= keys(chosen.read)
    assert len(chosen.read) == MOST_ENTRY_POINTS
    assert chosen.unread == 502 - MOST_ENTRY_POINTS
    assert not keys(chosen.read) & keys(chosen.ask)
    assert all(key in keys(chosen.read) for key in deep if "/" not in key)
    assert chosen.sampled[Rule.MISSING_REFERENCE] == MOST_ENTRY_POINTS
    assert chosen.sampled[Rule.ENTRY_POINT_CACHED] == len(chosen.read) + len(chosen.ask)


def test_large_pages_are_read_while_their_sum_is_not_too_large() -> None:
    pages = [File(f"{number:02}.html", LARGEST, TAG) for number in range(20)]
    chosen = choice(*pages)
    assert 0 < sum(file.size for file in chosen.read) <= MOST_TO_READ
    assert chosen.unread == 20 - len(chosen.read) > 0


def test_many_named_entry_points_are_sampled_as_well() -> None:
    chosen = choice(*(f"{number}/x.bin" for number in range(1000)), order=Order(["*.bin"]))
    assert len(chosen.ask) == MOST_ENTRY_POINTS + MOST_OTHERS
    assert chosen.sampled[Rule.ENTRY_POINT_UNCONTROLLED] == len(chosen.ask)


def test_thorough_leaves_nothing_out() -> None:
    names = [f"{number}.html" for number in range(300)]
    names += [f"{number}-3f2a9c1b.js" for number in range(300)]
    chosen = choice(*names, thorough=True)
    assert keys(chosen.read) | keys(chosen.ask) == set(names)
    assert (chosen.unread, chosen.sampled) == (0, {})
