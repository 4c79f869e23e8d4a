import json
import re
import subprocess
import sys

import nbformat
import pytest

from footpass.files import DataError
from footpass.report import NOTEBOOKS, build_page, run_notebooks

OUTSIDE = re.compile(r"""(src|href)\s*=\s*["']?\s*(https?:)?//|@import|url\(\s*["']?https?:|import\(""")


def notebook(path, *cells, title="# A title\n\n**A question?**"):
    parameters = nbformat.v4.new_code_cell(
        "profile = None\nrun_dir = None", metadata={"tags": ["parameters"]}
    )
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(title), parameters, *code])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)
    return path


START = "from footpass.runs import start_run\nrun = start_run('x', profile=profile, run_dir=run_dir)"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of two notebooks: one that works and shows hostile strings, one that fails."""
    folder = tmp_path_factory.mktemp("report")
    good = notebook(
        folder / "01_good.ipynb",
        START + "\nrun.uses('<script>alert(1)</script>', simulated=True)",
        "import matplotlib.pyplot as plt\nimport pandas as pd\nfigure, axes = plt.subplots()\n"
        "run.figure(figure, 'plot', caption='<b>caption</b>', alt='\" onerror=\"alert(1)')",
        "run.table(pd.DataFrame({'<i>': ['<script>alert(2)</script>']}), 't', 'c')\n"
        "run.metric('m', 0.4926, 'macro F1')\nrun.finish()",
        "from IPython.display import HTML\nHTML('<script>alert(3)</script><b>bold</b>')",
    )
    bad = notebook(folder / "02_bad.ipynb", START, "raise ValueError('<oh no>')")
    runs = folder / "runs"
    failures = run_notebooks(runs, "smoke", [good, bad])
    return runs, failures, build_page(runs, failures).read_text(), [good, bad]


def test_a_failing_notebook_is_named_and_the_other_stays(report):
    _, failures, page, _ = report
    assert [failure.notebook for failure in failures] == ["02_bad"]
    assert "ValueError: <oh no>" in failures[0].reason
    assert "02_bad failed" in page and "ValueError: &lt;oh no&gt;" in page
    assert "A title" in page and "A question?" in page and "0.4926" in page


def test_every_string_from_data_is_escaped(report):
    runs, _, page, _ = report
    for text in (page, (runs / "01_good" / "notebook.html").read_text()):
        assert not re.search(r"<script>alert\(", text)
    assert "&lt;b&gt;caption&lt;/b&gt;" in page and 'alt="&#34; onerror=' in page
    assert "<b>bold</b>" in (runs / "01_good" / "notebook.html").read_text()


def test_pages_load_nothing_from_a_network(report):
    runs, _, page, _ = report
    assert not OUTSIDE.search(page) and page.count("data:image/png;base64,") == 1
    for path in runs.glob("*/notebook.html"):
        assert not OUTSIDE.search(path.read_text()), path


def test_simulated_data_are_labelled(report):
    assert "Simulated:" in report[2]


def test_a_finished_notebook_is_not_run_again_and_a_changed_one_is(report):
    runs, _, _, (good, _) = report
    written = (runs / "01_good" / "metrics.json").stat().st_mtime_ns
    assert run_notebooks(runs, "smoke", [good]) == []
    assert (runs / "01_good" / "metrics.json").stat().st_mtime_ns == written
    notebook(good, START, "run.finish()", title="# Another title")
    assert run_notebooks(runs, "smoke", [good]) == []
    assert (runs / "01_good" / "metrics.json").stat().st_mtime_ns > written
    assert "Another title" in build_page(runs).read_text()


def test_a_notebook_that_never_finishes_its_run_is_a_failure(tmp_path):
    path = notebook(tmp_path / "03_forgot.ipynb", START)
    (failure,) = run_notebooks(tmp_path / "runs", "smoke", [path])
    assert "metrics.json" in failure.reason


def test_a_file_that_is_no_notebook_is_a_failure(tmp_path):
    path = tmp_path / "04_broken.ipynb"
    path.write_text("{")
    (failure,) = run_notebooks(tmp_path / "runs", "smoke", [path])
    assert failure.notebook == "04_broken" and failure.reason


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no run"):
        build_page(tmp_path)


def test_papermill_runs_a_notebook_from_any_folder(tmp_path):
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(NOTEBOOKS / "01_class_imbalance.ipynb"),
        "out.ipynb",
    ]
    command += ["-p", "run_dir", str(tmp_path / "run")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    told = json.loads((tmp_path / "run" / "metrics.json").read_text())
    values = {metric["name"]: metric["value"] for metric in told["metrics"]}
    assert told["profile"] == "smoke" and values["pass_to_tackle_box"] > values["pass_to_tackle_all"]


def test_notebook_01_gives_the_published_figures(release, tmp_path):
    path = NOTEBOOKS / "01_class_imbalance.ipynb"
    assert run_notebooks(tmp_path, "smoke", [path]) == []
    page = build_page(tmp_path).read_text()
    for figure in ("0.2445", "0.4926", "213.5", "160.1"):
        assert figure in page
    assert "Simulated:" not in page
