"""What is light stays light: pictures, pages and --help load no torch, and Windows has no fcntl."""

import json
import subprocess
import sys

import pytest

from footpass.files import PROJECT


def imported(statement: str, *without: str) -> set[str]:
    """Modules that a statement has imported, in a new process that cannot import some."""
    hidden = f"import sys; sys.modules |= dict.fromkeys({without!r})"
    code = f"{hidden}\n{statement}\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert run.returncode == 0, run.stderr
    return set(run.stderr.split())


HELP = (
    "import contextlib, footpass.__main__ as cli\n"
    "with contextlib.suppress(SystemExit): cli.main(['evaluate', '--help'])"
)


@pytest.mark.parametrize(
    "statement", ["import footpass.report.match_page", "import footpass.plots.scores", HELP]
)
def test_pages_pictures_and_help_load_no_torch(statement):
    assert "torch" not in imported(statement)


@pytest.mark.parametrize("notebook", ["00_look_at_the_data", "04_train_dst_gnn", "06_postprocessing"])
def test_notebooks_begin_without_what_they_may_not_need(notebook):
    """That took more time than all the rest of a first cell."""
    cells = json.loads((PROJECT / f"notebooks/{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    slow = {"torch", "lightgbm", "sklearn", "networkx", "seaborn", "scipy.stats", "scipy.signal"}
    assert not slow & imported(first)


def test_a_profile_is_read_without_what_fits_its_re_scoring():
    assert not {"lightgbm", "sklearn", "scipy.signal"} & imported("import footpass.experiments.profile")


def test_the_package_can_be_imported_where_there_is_no_fcntl():
    imported("import footpass.experiments.stages, footpass.__main__", "fcntl", "resource")
