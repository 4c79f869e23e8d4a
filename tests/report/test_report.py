import ast
import asyncio
import base64
import gc
import io
import json
import os
import re
import subprocess
import sys
import time
from fnmatch import fnmatch

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from PIL import Image

from footpass.files import DataError
from footpass.report.notebooks import NOTEBOOKS, _forget_dead_kernels, _inputs, run_notebooks
from footpass.report.page import QUESTIONS, build_page, publish
from footpass.report.record import read_record
from footpass.report.run import start_run

OUTSIDE = re.compile(r"""(src|href)\s*=\s*["']?\s*(https?:)?//|@import|url\(\s*["']?https?:|import\(""")
PICTURE = re.compile(r"data:image/(\w+);base64,([\w+/=]+)")


def notebook(path, *cells, title="# A title\n\n**A question?**"):
    parameters = nbformat.v4.new_code_cell(
        "profile = None\nrun_dir = None", metadata={"tags": ["parameters"]}
    )
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(title), parameters, *code])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, path)
    return path


START = (
    "from footpass.report.run import start_run\nrun = start_run('x', profile=profile, run_dir=run_dir)"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of two notebooks: one that works and shows hostile strings, one that fails."""
    folder = tmp_path_factory.mktemp("report")
    good = notebook(
        folder / "01_good.ipynb",
        START + "\nimport logging\nlogging.warning('made now')"
        "\nfrom footpass.data.provenance import simulation"
        "\nrun.uses('<script>alert(1)</script>', provenance=simulation(7))",
        "import matplotlib.pyplot as plt\nimport pandas as pd\nfigure, axes = plt.subplots()\n"
        "run.figure(figure, 'plot', caption='<b>caption</b>', alt='\" onerror=\"alert(1)')",
        "run.table(pd.DataFrame({'<i>': ['<script>alert(2)</script>']}), 't', 'c')\n"
        "run.metric('m', 0.4926, 'macro F1')\nrun.answer('An <answer>.')\nrun.finish()",
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


def test_the_answer_is_under_the_question_and_captions_under_what_they_describe(report):
    runs, _, page, _ = report
    text = (runs / "01_good" / "notebook.html").read_text()
    places = [
        "A question?",
        "An &lt;answer&gt;.",
        "subplots",
        "<img",
        "<small>&lt;b&gt;caption",
    ]
    assert [text.index(place) for place in places] == sorted(text.index(place) for place in places)
    assert "<img alt='\" onerror=\"alert(1)'" in text
    assert "An &lt;answer&gt;." in page.partition('id="in-short"')[2]


def test_a_table_has_no_column_for_the_name_of_its_columns(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("footpass.report.run.display", lambda thing, **_: shown.append(thing.data))
    counts = pd.crosstab(pd.Series([1, 2], name="step"), pd.Series(["a", "b"], name="verdict"))
    start_run("x", run_dir=tmp_path).table(counts, "t", "A caption.")
    assert re.findall("<th>(.*?)</th>", shown[0]) == ["step", "a", "b"]
    assert "A caption." in shown[1]


def test_what_is_logged_is_not_in_red(report):
    runs, *_ = report
    cells = nbformat.read(runs / "01_good" / "01_good.ipynb", 4).cells
    streams = [o for c in cells for o in c.get("outputs", ()) if o.output_type == "stream"]
    assert [(stream.name, stream.text) for stream in streams] == [("stdout", "made now\n")]


def test_pages_load_nothing_from_a_network(report):
    runs, _, page, _ = report
    assert not OUTSIDE.search(page) and len(PICTURE.findall(page)) == 1
    for path in runs.glob("*/notebook.html"):
        assert not OUTSIDE.search(path.read_text()), path


def test_simulated_data_are_labelled(report):
    assert "Simulated:" in report[2]


def test_scores_of_short_profiles_are_no_comparison(report, tmp_path):
    assert "Short:</b> profile smoke" in report[2]
    write_run(tmp_path, "08_ablations")
    for profile, short in (("demo", True), ("study", False)):
        told = tmp_path / "08_ablations" / "metrics.json"
        told.write_text(json.dumps(json.loads(told.read_text()) | {"profile": profile}))
        assert ("Short:" in build_page(tmp_path).read_text()) == short


def test_a_finished_notebook_is_not_run_again_and_a_changed_one_is(report):
    runs, _, _, (good, _) = report
    written = (runs / "01_good" / "metrics.json").stat().st_mtime_ns
    assert run_notebooks(runs, "smoke", [good]) == []
    assert (runs / "01_good" / "metrics.json").stat().st_mtime_ns == written
    notebook(good, START, "run.finish()", title="# Another title")
    assert run_notebooks(runs, "smoke", [good]) == []
    assert (runs / "01_good" / "metrics.json").stat().st_mtime_ns > written
    assert "Another title" in build_page(runs).read_text()


def test_new_data_make_a_notebook_run_again(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTPASS_DATA", str(tmp_path))
    path, stamps = NOTEBOOKS / "00_look_at_the_data.ipynb", []
    for name in ("val_tactical_data.h5", "train_tactical_data.h5", "videos/game_1.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"data")
        stamps.append(_inputs(path, "demo"))
        assert _inputs(path, "demo") == stamps[-1]
    assert len(set(stamps)) == 3


@pytest.mark.slow
def test_a_killed_report_goes_on_with_the_notebook_that_it_was_at(tmp_path):
    log, go, runs = tmp_path / "log", tmp_path / "go", tmp_path / "runs"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.05)"
    books = [
        notebook(
            tmp_path / f"{name}.ipynb",
            START,
            f"with open({str(log)!r}, 'a') as log:\n    log.write('{name} ')",
            wait if name == "02_second" else "",
            "run.finish()",
        )
        for name in ("01_first", "02_second", "03_third")
    ]
    code = "import sys, pathlib, footpass.report.notebooks as report\n"
    code += "report.run_notebooks(sys.argv[1], 'smoke', [pathlib.Path(path) for path in sys.argv[2:]])"
    process = subprocess.Popen([sys.executable, "-c", code, runs, *books], stderr=subprocess.DEVNULL)
    while not (log.exists() and "02_second" in log.read_text()):
        assert process.poll() is None, "it ended by itself"
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert (runs / "01_first" / "stamp.json").exists()
    assert not (runs / "02_second" / "stamp.json").exists()
    written = (runs / "01_first" / "metrics.json").stat().st_mtime_ns
    go.touch()
    assert run_notebooks(runs, "smoke", books) == []
    assert log.read_text().split() == ["01_first", "02_second", "02_second", "03_third"]
    assert (runs / "01_first" / "metrics.json").stat().st_mtime_ns == written


def test_killed_while_a_page_is_rendered_only_that_is_done_again(report, tmp_path, monkeypatch):
    runs, _, _, (good, _) = report
    page = runs / "01_good" / "notebook.html"
    assert run_notebooks(runs, "smoke", [good]) == []
    written = (runs / "01_good" / "metrics.json").stat().st_mtime_ns
    page.unlink()
    assert run_notebooks(runs, "smoke", [good]) == []
    assert page.is_file() and (runs / "01_good" / "metrics.json").stat().st_mtime_ns == written
    look = tmp_path / "page.css"
    look.touch()
    monkeypatch.setattr("footpass.report.notebooks._LOOK", [look])
    before = page.stat().st_mtime_ns
    for age in (1, -1):  # younger than the page, and older
        os.utime(look, ns=(before + age, before + age))
        assert run_notebooks(runs, "smoke", [good]) == []
        assert (page.stat().st_mtime_ns > before) == (age > 0)
        before = page.stat().st_mtime_ns


@pytest.mark.slow
def test_of_two_reports_in_one_folder_one_waits(tmp_path):
    """Both would else write the same run: here the other one is told by the lock that it holds."""
    log, runs = tmp_path / "log", tmp_path / "runs"
    book = notebook(
        tmp_path / "01_once.ipynb",
        START,
        f"import time\nwith open({str(log)!r}, 'a') as log:\n    log.write('run ')\ntime.sleep(0.5)",
        "run.finish()",
    )
    code = "import sys, pathlib, footpass.report.notebooks as report\n"
    code += "report.run_notebooks(sys.argv[1], 'smoke', [pathlib.Path(sys.argv[2])])"
    command = [sys.executable, "-c", code, runs, book]
    both = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert log.read_text().split() == ["run"]


def write_run(folder, name, figures=(), tables=(), metrics=(), simulated=False):
    """A finished run without its notebook; figures are of one pixel."""
    (folder / name).mkdir()
    for figure in figures:
        Image.new("RGB", (1, 1), "white").save(folder / name / f"{figure}.png")
    content = {
        "notebook": name, "profile": "smoke", "seed": 0, "config": {}, "seconds": 90.0,
        "data": [{"what": "some data", "simulated": simulated, "fingerprint": None}],
        "figures": [
            {"name": name, "file": f"{name}.png", "caption": f"C {name}", "alt": f"A {name}"}
            for name in figures
        ],
        "tables": [
            {"name": name, "caption": f"C {name}", "digits": 3, "columns": ["row"], "rows": [["a"]]}
            for name in tables
        ],
        "metrics": [
            {"name": name, "value": 0.25, "label": f"L {name}", "interval": None} for name in metrics
        ],
        "finished": "2026-01-01T00:00:00+00:00", "git": "abc", "environment": {"python": "3.11"},
    }  # fmt: skip
    (folder / name / "metrics.json").write_text(json.dumps(content))


def test_questions_are_answered_with_what_there_is_and_all_else_is_below(tmp_path):
    write_run(tmp_path, "01_class_imbalance", ["class_counts", "gaps"], metrics=["DST_macro_f1"])
    write_run(tmp_path, "08_ablations", ["effects"], ["ablations", "else"], simulated=True)
    page = build_page(tmp_path).read_text()
    answers, notebooks = page.split('<h2 id="notebooks">')
    titles = re.findall(r"<h2>(.*?)</h2>", answers)
    assert titles == [q.title for q in QUESTIONS[1:] if q.title != "Where does it still fail?"]
    order = ["C class_counts", "L DST_macro_f1", "C effects", "C ablations", "What each notebook", "1.5"]
    places = [answers.partition("</nav>")[2].index(text) for text in order]
    assert places == sorted(places)
    assert "C gaps" not in answers and "C else" not in answers
    assert "C gaps" in notebooks and "C else" in notebooks
    assert len(PICTURE.findall(page)) == 3  # each once: below, a link to what is above
    assert notebooks.count(">Above</a>") == 3
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page
    assert "C effects <a" in answers and answers.count("· some data, simulated.") == 2
    assert all(f'alt="A {name}"' in page for name in ("class_counts", "gaps", "effects"))


def test_no_name_stands_for_two_things_and_both_revisions_are_told(tmp_path):
    """The released DST and one that was trained here, with a model that is older than the report."""
    for name, told in (
        ("01_class_imbalance", {"what": "public FOOTPASS release", "systems": "as released"}),
        ("04_train_dst_gnn", {"what": "season 3", "systems": "trained here", "simulated": True}),
    ):
        metric = "DST_macro_f1" if name[1] == "1" else "fusion_gain"
        write_run(tmp_path, name, metrics=[metric])
        path = tmp_path / name / "metrics.json"
        content = json.loads(path.read_text())
        content["data"][0] |= told
        content["trained"] = [{"stage": "dst-1", "seconds": 3600.0, "revisions": ["old1", "old2"]}]
        path.write_text(json.dumps(content))
    page = " ".join(build_page(tmp_path).read_text().split())
    assert "· systems as released, on: public FOOTPASS release." in page
    assert "· systems trained here, on: season 3, simulated." in page
    assert "revision abc, models trained at old1, old2" in page
    assert '<th scope="row" data-value="dst-1">dst-1</th><td data-value="old1, old2"' in page


def recorded(path):
    """``kind.name`` of all that a notebook records, as patterns: a name may be put together."""
    code = "\n".join(
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
    )
    nodes = list(ast.walk(ast.parse(code)))
    said = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("run."):
            kind = node.func.attr
            kind = "figure" if kind == "clip" else kind
            if kind in ("figure", "table", "metric"):
                name = node.args[0 if kind == "metric" else 1]
                parts = name.values if isinstance(name, ast.JoinedStr) else [name]
                texts = [part.value if isinstance(part, ast.Constant) else "*" for part in parts]
                names = ["".join(texts)] if texts != ["*"] else said  # a variable: anything said
                yield from (f"{kind}s.{name}" for name in names)


def test_the_questions_name_what_the_notebooks_make():
    """A name that no notebook records any more would be left out without a word."""
    for name in (name for question in QUESTIONS for name in question.shows):
        notebook, _, item = name.partition(".")
        path = NOTEBOOKS / f"{notebook}.ipynb"
        if path.exists():
            assert any(fnmatch(item, pattern) for pattern in recorded(path)), name


def test_a_picture_is_the_same_in_fewer_bytes(tmp_path):
    write_run(tmp_path, "x", ["plot"])
    rows, columns = np.mgrid[:90, :120]
    waves = 128 + 60 * np.sin(rows / 9) + 60 * np.cos(columns / 7)
    noise = np.random.default_rng(0).normal(0, 4, waves.shape)
    picture = Image.fromarray((waves + noise).clip(0, 255).astype(np.uint8)).convert("RGB")
    picture.save(tmp_path / "x" / "plot.png")
    ((kind, data),) = PICTURE.findall(build_page(tmp_path).read_text())
    data = base64.b64decode(data)
    assert len(data) < (tmp_path / "x" / "plot.png").stat().st_size and kind == "webp"
    difference = np.asarray(Image.open(io.BytesIO(data)), int) - np.asarray(picture, int)
    assert np.abs(difference).mean() < 5


def test_a_notebook_that_never_finishes_its_run_is_a_failure(tmp_path):
    path = notebook(tmp_path / "03_forgot.ipynb", START)
    (failure,) = run_notebooks(tmp_path / "runs", "smoke", [path])
    assert "metrics.json" in failure.reason


def test_a_file_that_is_no_notebook_is_a_failure(tmp_path):
    path = tmp_path / "04_broken.ipynb"
    path.write_text("{")
    (failure,) = run_notebooks(tmp_path / "runs", "smoke", [path])
    assert failure.notebook == "04_broken" and failure.reason


def test_what_a_kernel_dies_of_is_in_the_reason_alone(tmp_path, monkeypatch, capfd):
    launcher = "import sys; sys.exit('closed sockets\\nlibzmq.so: cannot be opened')"
    (tmp_path / "ipykernel_launcher.py").write_text(launcher)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (failure,) = run_notebooks(tmp_path / "runs", "smoke", [notebook(tmp_path / "04_broken.ipynb")])
    assert failure.reason.endswith(": libzmq.so: cannot be opened")
    assert "sockets" not in capfd.readouterr().err


def test_a_cell_that_a_signal_left_behind_is_forgotten(caplog):
    """Its kernel is ended in the same event loop; what finds it dead printed a traceback."""
    cell = nbformat.v4.new_code_cell("import time; time.sleep(60)")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    client = NotebookClient(notebook, on_cell_start=_forget_dead_kernels)

    def interrupt():
        raise KeyboardInterrupt

    with client.setup_kernel():
        loop = asyncio.get_event_loop_policy().get_event_loop()
        loop.call_later(0.5, interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.execute_cell(cell, 0)
        loop.run_until_complete(client.km.shutdown_kernel(now=True))
        loop.run_until_complete(asyncio.sleep(1.5))  # it is looked at each second
    gc.collect()
    assert "Kernel died" in caplog.text and "never retrieved" not in caplog.text


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no run"):
        build_page(tmp_path)


def test_a_notebook_that_has_just_begun_is_left_out_and_one_without_a_picture_is_named(
    tmp_path, monkeypatch
):
    for name in ("one", "two"):
        write_run(tmp_path, name, ["gaps"])

    def read(path):
        if path.parent.name == "one":  # another report begins it
            path.unlink()
        return read_record(path)

    monkeypatch.setattr("footpass.report.page.read_record", read)
    assert PICTURE.findall(build_page(tmp_path).read_text())
    (tmp_path / "two" / "gaps.png").unlink()
    with pytest.raises(DataError, match="gaps.png: not there"):
        build_page(tmp_path)


def test_what_is_published_is_the_pages_and_figures_of_finished_runs(report, tmp_path):
    runs, *_ = report
    (runs / "01_good" / "best.pt").write_bytes(b"weights")
    size = publish(runs, tmp_path / "out")
    copied = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    named = {str(path.relative_to(tmp_path / "out")) for path in copied}
    pages = {"index.html", "models.html"}
    assert named == pages | {"01_good/metrics.json", "01_good/notebook.html"}
    assert size == sum(path.stat().st_size for path in copied)
    assert all(
        path.read_bytes() == (runs / path.relative_to(tmp_path / "out")).read_bytes() for path in copied
    )
    made = ["metrics.json", "notebook.html"]
    others = {"02_dropped": made, "03_noted": [*made, "own.md"], "own": ["own.md"]}
    for file in (tmp_path / "out" / name / file for name in others for file in others[name]):
        file.parent.mkdir(exist_ok=True)
        file.touch()
    assert publish(runs, tmp_path / "out") == size
    left = {path for path in (tmp_path / "out").rglob("*") if path.is_file()} - {*copied}
    assert left == {tmp_path / "out" / name / "own.md" for name in ("03_noted", "own")}
    assert not (tmp_path / "out" / "02_dropped").exists()
    with pytest.raises(DataError, match="no report there"):
        publish(tmp_path / "nothing", tmp_path / "out")


@pytest.fixture(scope="module")
def notebook_01(tmp_path_factory):
    """A folder with the run of notebook 01, by papermill alone and from elsewhere."""
    runs, elsewhere = (tmp_path_factory.mktemp(name) for name in ("runs", "elsewhere"))
    name = "01_class_imbalance"
    command = [sys.executable, "-m", "papermill", str(NOTEBOOKS / f"{name}.ipynb"), "out.ipynb"]
    command += ["-p", "run_dir", str(runs / name)]
    subprocess.run(command, cwd=elsewhere, check=True, capture_output=True)
    return runs


def test_papermill_runs_a_notebook_from_any_folder(notebook_01):
    told = json.loads((notebook_01 / "01_class_imbalance" / "metrics.json").read_text())
    values = {metric["name"]: metric["value"] for metric in told["metrics"]}
    assert told["profile"] == "smoke" and values["pass_to_tackle_box"] > values["pass_to_tackle_all"]


@pytest.mark.usefixtures("release")
def test_notebook_01_gives_the_published_figures(notebook_01):
    page = build_page(notebook_01).read_text()
    for figure in ("0.2445", "0.4926", "213.5", "160.1"):
        assert figure in page
    assert "Simulated:" not in page
