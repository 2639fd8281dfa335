"""`imgctl manifest`, and plans in files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgctl_core.errors import ManifestNotFound, NotAuthorized, StreamCut
from imgctl_core.models import Failure, ManifestRow, Outcome, PlannedItem, PlanReport, Step

DIGEST = "sha256:" + "9f" * 32
EVIL = "spa:\x1b[2J\u202e:1"
ROWS = (
    ManifestRow("spa:a:1", '{"key":"index.html","size":3}'),
    ManifestRow("spa:a:1", r'{"key":"k\u00e4se.js","size":7}'),
    ManifestRow(EVIL, '{"key":"x"}'),
)
PARTS = [{"key": "index.html", "size": 3}, {"key": "käse.js", "size": 7}]
ITEMS = [{"ref": "spa:a:1", "rows": PARTS}, {"ref": EVIL, "rows": [{"key": "x"}]}]
REPORT = PlanReport(
    "dev",
    "prod",
    Outcome.PROMOTED,
    (PlannedItem("spa:a:1", "spa", Outcome.PROMOTED, DIGEST, steps=(Step("copy", "x", 10),)),),
)


class TestManifest:
    def test_is_one_document(self, run: Any, server: Any, dex: Any) -> None:
        server.rows = ROWS
        ran = run("manifest", "pr_1")
        assert (ran.code, ran.err) == (0, "")
        assert json.loads(ran.out) == {"schema_version": 1, "id": "pr_1", "items": ITEMS}
        assert ran.out == run("manifest", "pr_1", "-o", "json").out
        assert ("manifest", "pr_1") in server.asked

    def test_is_a_line_a_row_whose_row_is_what_was_hashed(
        self, run: Any, server: Any, dex: Any
    ) -> None:
        server.rows = ROWS
        ran = run("manifest", "pr_1", "--ref", "spa:a:1", "-o", "jsonl")
        assert (ran.code, ran.err) == (0, "")
        lines = ran.out.splitlines()
        assert [json.loads(line)["row"] for line in lines] == [*PARTS, {"key": "x"}]
        assert [json.loads(line)["ref"] for line in lines] == ["spa:a:1", "spa:a:1", EVIL]
        assert all(
            line.endswith(f'"row":{row.json}}}') for line, row in zip(lines, ROWS, strict=True)
        )
        assert ("manifest", "pr_1 spa:a:1") in server.asked

    @pytest.mark.parametrize("form", ["json", "jsonl"])
    def test_steers_no_terminal(self, run: Any, server: Any, dex: Any, form: str) -> None:
        server.rows = ROWS
        out = run("manifest", "pr_1", "-o", form).out
        assert out.isascii()
        assert out.replace("\n", "").isprintable()

    def test_rows_are_printed_as_they_come(
        self, run: Any, server: Any, dex: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        seen: list[str] = []

        class Slow(tuple[ManifestRow, ...]):
            def __iter__(self) -> Iterator[ManifestRow]:
                for row in super().__iter__():
                    yield row
                    seen.append(capsys.readouterr().out)

        server.rows = Slow(ROWS[:2])
        run("manifest", "pr_1", "-o", "jsonl")
        assert [len(out.splitlines()) for out in seen] == [1, 1]

    def test_none_is_an_error(self, run: Any, server: Any, dex: Any) -> None:
        server.rows = [ManifestNotFound("there is no manifest of a:1", fix="look", id="pr_1")]
        ran = run("manifest", "pr_1")
        assert (ran.code, ran.out) == (9, "")
        assert ran.err.startswith("error: there is no manifest of a:1\nfix: look\n")
        dex.logins.clear()
        for form in ("json", "jsonl"):
            ran = run("manifest", "pr_1", "-o", form)
            assert json.loads(ran.err)["error"]["reason"] == "MANIFEST_NOT_FOUND"
            dex.logins.clear()

    def test_one_that_is_cut_off_is_no_success(self, run: Any, server: Any, dex: Any) -> None:
        server.rows = [*ROWS, StreamCut("the connection to the server was lost")]
        ran = run("manifest", "pr_1")
        assert ran.code == 10
        assert "STREAM_CUT" in ran.err
        with pytest.raises(ValueError, match="delimiter"):
            json.loads(ran.out)

    def test_a_refused_cached_token_is_replaced_here_too(
        self, run: Any, server: Any, dex: Any
    ) -> None:
        server.rows = ROWS
        server.refused = {"first-token"}
        assert run("manifest", "pr_1").code == 0
        assert len(dex.logins) == 2

    def test_needs_an_id(self, run: Any, server: Any, dex: Any) -> None:
        assert run("manifest").code == 2
        assert run("manifest", "pr_1", "-o", "text").code == 2


class TestPlanOut:
    ARGS = ("promote", "spa:a:1", "-d", "prod", "--plan", "--plan-out")

    @pytest.fixture(autouse=True)
    def plan(self, server: Any) -> None:
        server.plan, server.rows = REPORT, ROWS

    def test_saves_the_plan_and_its_rows_and_prints_as_ever(
        self, run: Any, server: Any, dex: Any, tmp_path: Path
    ) -> None:
        for form in ("text", "json"):
            printed = run("promote", "spa:a:1", "-d", "prod", "--plan", "-o", form)
            dex.logins.clear()
            ran = run(*self.ARGS, str(tmp_path / form), "-o", form)
            dex.logins.clear()
            assert ran == printed
        text = (tmp_path / "json").read_text("ascii")
        assert json.loads(text) == {**json.loads(ran.out), "manifests": ITEMS}
        assert text == (tmp_path / "text").read_text("ascii")
        assert text.replace("\n", "").isprintable()
        assert sorted(os.listdir(tmp_path)) == ["json", "text"]
        assert [method for method, _ in server.asked].count("export_plan") == 2
        assert server.requests[-1].refs == ("spa:a:1",)

    def test_a_plan_without_rows(self, run: Any, server: Any, dex: Any, tmp_path: Path) -> None:
        server.rows = ()
        assert run(*self.ARGS, str(tmp_path / "plan.json")).code == 0
        assert json.loads((tmp_path / "plan.json").read_text())["manifests"] == []

    def test_a_plan_that_would_fail_is_saved_too(
        self, run: Any, server: Any, dex: Any, tmp_path: Path
    ) -> None:
        item = PlannedItem("a:1", "image", Outcome.CONFLICT, error=Failure("CONFLICT", "other"))
        server.plan = PlanReport("dev", "prod", Outcome.CONFLICT, (item,))
        ran = run(*self.ARGS, str(tmp_path / "plan.json"))
        assert ran.code == 8
        assert json.loads((tmp_path / "plan.json").read_text())["outcome"] == "conflict"

    def test_takes_the_place_of_what_was_there(
        self, run: Any, server: Any, dex: Any, tmp_path: Path
    ) -> None:
        path = tmp_path / "plan.json"
        path.write_text("old")
        assert run(*self.ARGS, str(path)).code == 0
        assert json.loads(path.read_text())["outcome"] == "promoted"

    @pytest.mark.parametrize(
        ("rows", "plan", "code"),
        [
            ([*ROWS, StreamCut("lost")], REPORT, 10),
            ([NotAuthorized("you may not")], REPORT, 5),
            (ROWS, None, 10),
            ([*ROWS, KeyboardInterrupt()], REPORT, 130),
        ],
        ids=["cut", "refused", "no plan", "interrupted"],
    )
    def test_is_there_whole_or_not_at_all(
        self, run: Any, server: Any, dex: Any, tmp_path: Path, rows: Any, plan: Any, code: int
    ) -> None:
        server.rows, server.plan = rows, plan
        path = tmp_path / "plan.json"
        path.write_text("old")
        ran = run(*self.ARGS, str(path))
        assert (ran.code, ran.out) == (code, "")
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["plan.json"]

    def test_a_full_disk_is_told_and_leaves_nothing(
        self, run: Any, server: Any, dex: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("imgctl_cli.planfile._write", full)
        ran = run(*self.ARGS, str(tmp_path / "plan.json"))
        assert ran.code == 2
        assert "can't be saved" in ran.err
        assert "No space left on device" in ran.err
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize(
        ("args", "hint"),
        [
            (("promote", "a:1", "-d", "prod", "--plan-out", "x"), "it goes with --plan"),
            ((*ARGS, "-"), "takes the name of a file"),
            ((*ARGS, "."), "no file"),
            ((*ARGS, "/dev/null"), "no file"),
            ((*ARGS, "no-such-folder/plan.json"), "no such folder"),
        ],
    )
    def test_what_can_not_be_is_told_before_any_network(
        self, run: Any, server: Any, dex: Any, args: tuple[str, ...], hint: str
    ) -> None:
        ran = run(*args)
        assert (ran.code, ran.out) == (2, "")
        assert hint in ran.err
        assert not dex.logins
        assert not server.asked

    def test_a_token_is_shown_before_it_all(
        self, run: Any, server: Any, dex: Any, tmp_path: Path
    ) -> None:
        ran = run(*self.ARGS, str(tmp_path / "plan.json"), "--show-token")
        assert ran.out.splitlines()[0] == "first-token"
        assert "first-token" not in (tmp_path / "plan.json").read_text()

    def test_a_refused_cached_token_is_replaced_here_too(
        self, run: Any, server: Any, dex: Any, tmp_path: Path
    ) -> None:
        server.refused = {"first-token"}
        assert run(*self.ARGS, str(tmp_path / "plan.json")).code == 0
        assert len(dex.logins) == 2
