"""README's figures are those of the published runs and of the benchmarks."""

import json
import re

import pytest

from footpass.files import PROJECT

# 0.5284<!--study/07_ensemble:rescored_macro_f1-->, where the comment names the run and its metric.
FIGURE = re.compile(r"([-+]?[\d.,]+)\**<!--([\w/]+):([\w.]+)-->")
TEXT = (PROJECT / "README.md").read_text(encoding="utf-8")


def known(source: str, name: str) -> float:
    """What a run or the benchmarks say."""
    if source == "benchmarks":
        rows = json.loads((PROJECT / "reports" / "benchmarks.json").read_text())["benchmarks"]
        return next(row["ratio"] for row in rows if row["name"] == name)
    metrics = json.loads((PROJECT / "reports" / source / "metrics.json").read_text())["metrics"]
    name, _, bound = name.partition(".")
    metric = next(metric for metric in metrics if metric["name"] == name)
    return metric["interval"][("low", "high").index(bound)] if bound else metric["value"]


def test_there_are_figures():
    assert len(FIGURE.findall(TEXT)) > 10


@pytest.mark.parametrize("text, source, name", FIGURE.findall(TEXT))
def test_figure_is_the_published_one(text, source, name):
    text = text.replace(",", "").rstrip(".")
    decimals = len(text.partition(".")[2])
    sign = "+" if text[0] in "+-" else ""
    assert f"{known(source, name):{sign}.{decimals}f}" == text


def test_links_and_pictures_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("http") or (PROJECT / target).exists(), target


def test_every_module_has_its_place():
    listed = re.findall(r"`([a-z_]+(?:\.py|/))`", TEXT[TEXT.index("## Where things are") :])
    package = PROJECT / "footpass"
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert sorted(listed) == sorted(modules | folders)
