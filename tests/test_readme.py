"""What README and the pages beside it say is so: figures, links, commands, the layout."""

import json
import re
import shlex

import pytest
import yaml

from footpass import __main__ as program
from footpass.configs import plain
from footpass.events import write_events
from footpass.files import PROJECT, DataError
from footpass.report.speed import Bar, Benchmarks, Limit, Progress
from footpass.report.tables import filled, pages, write_tables
from footpass.schema import EVENT_COLUMNS
from tests.tables import truth

PAGES = [*pages(PROJECT), *sorted((PROJECT / "docs").glob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(PROJECT)))


@page
def test_tables_are_what_is_published(page):
    text = page.read_text(encoding="utf-8")
    assert filled(text, PROJECT / "reports") == text, "run footpass publish study"


def test_readme_is_short_and_its_sentences_are_plain_text():
    lines = README.splitlines()
    assert len(lines) <= 120
    assert all(re.fullmatch(r"<!-- (table \w+|end) -->", line) for line in lines if "<!--" in line)


def test_publishing_writes_a_changed_figure_once(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "benchmarks.json").write_text(
        '{"git": "abc", "environment": {"machine": "a machine", "torch": "2"}, "finished": "now",'
        ' "benchmarks": [{"name": "boxes", "what": "boxes of a clip", "fast_s": 0.1, "plain_s": 141.7,'
        ' "ratio": 1417.04, "target": 45}]}'
    )
    text = "Before.\n<!-- table speed -->\n| old |\n<!-- end -->\nAfter.\n"
    (tmp_path / "README.md").write_text(text)
    assert write_tables(tmp_path) == [tmp_path / "README.md"]
    new = (tmp_path / "README.md").read_text()
    assert "| boxes | boxes of a clip | 1,417.0 | 45 |\n" in new and "| old |" not in new
    assert new.startswith("Before.\n<!-- table speed -->\n") and new.endswith("<!-- end -->\nAfter.\n")
    assert write_tables(tmp_path) == []


def test_speed_is_told_against_before_the_public_code_and_the_machine(tmp_path):
    measured = Benchmarks(
        environment={},
        git=None,
        finished="now",
        benchmarks=(),
        progress=(
            Progress("step", "of training", 3.0, 2.0, None, (1.15, None)),
            Progress("scoring", "of files", None, 0.5, 2.0, (None, 3)),
        ),
        bars=(Bar("memory", "16 minutes against 4", 1.038, 1.1),),
        limits=(
            Limit("step", 30.2, 0.25, 4.04, 0.404, "aten::mm", 0.62),
            Limit("scoring", None, None, 0.1, 0.01, "loads", 0.5),
        ),
    )
    (tmp_path / "benchmarks.json").write_text(json.dumps(plain(measured)))
    rows = {
        "progress": (
            "| step: of training | 3 s | 2 s | 1.50 (asked for: 1.15) |  |  |",
            "| scoring: of files |  | 0.5 s |  | 2 s | 4.00 (asked for: 3) |",
        ),
        "bars": ("| memory | 16 minutes against 4 | 1.04 | 1.1 |",),
        "limits": (
            "| step | 30 (25%) | 4 (40.4%) | `aten::mm`, 62% |",
            "| scoring |  | 0.1 (1.0%) | `loads`, 50% |",
        ),
    }
    for name, lines in rows.items():
        shown = filled(f"<!-- table {name} -->\n<!-- end -->", tmp_path).splitlines()
        assert tuple(shown[3:-1]) == lines


def test_an_unknown_table_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no table 'prices'"):
        filled("<!-- table prices -->\n<!-- end -->", tmp_path)


@page
def test_links_and_pictures_are_there(page):
    for target, part in re.findall(r"\]\(([^)#]*)(#[^)]*)?\)", page.read_text(encoding="utf-8")):
        there = page.parent / target if target else page
        assert target.startswith("http") or there.exists(), target
        if part:
            titles = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert part[1:] in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


@page
def test_commands_are_as_the_program_takes_them(page):
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    text = "\n".join(blocks).replace("\\\n", " ").replace("$split", "val").replace("$model", "taad")
    for line in text.splitlines():
        command = shlex.split(line, comments=True)
        if command[:1] == ["footpass"]:
            program._parser().parse_args(command[1:])


def test_the_lines_of_python_work(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.split("\n\n")[-1].splitlines()) <= 5
    known = truth(("game_1_H1", 50, 0, 9, 2, True, False), halves=("game_1_H1",))
    write_events(known, tmp_path / "playbyplay_val.json")
    write_events(known[["half", *EVENT_COLUMNS]].assign(score=0.9), tmp_path / "mine.json")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert capsys.readouterr().out.startswith("0.125 ")  # one class of eight


def test_every_module_has_its_place():
    listed = re.findall(r"`([a-z_]+(?:\.py|/))`", README[README.index("## Where things are") :])
    package = PROJECT / "footpass"
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert sorted(listed) == sorted(modules | folders)


def test_it_can_be_cited():
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version"} <= cited.keys()
    assert f'version = "{cited["version"]}"' in (PROJECT / "pyproject.toml").read_text()
