"""The report: run the notebooks headless, then build one HTML page from their ``metrics.json``.

The page and the executed notebooks open offline: pictures are embedded, nothing is loaded from a
network, and every string that comes from data is escaped.
"""

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import papermill
from markupsafe import Markup
from nbconvert import HTMLExporter
from nbconvert.preprocessors.sanitize import SanitizeHTML
from PIL import Image
from pygments.formatters import HtmlFormatter
from tqdm.auto import tqdm
from traitlets.config import Config

from footpass.files import DataError, atomic_write, data_dir, locked, make_folder, release_dir
from footpass.pages import write_page
from footpass.runs import PROJECT, resolve_profile

NOTEBOOKS = PROJECT / "notebooks"
# Markup that a cell's output may hold: scripts, styles and frames are not among it.
_TAGS = re.findall(
    r"\w+",
    "a b blockquote br code div em h1 h2 h3 h4 hr i img li ol p pre small span strong sub sup ul "
    "table caption thead tbody tr th td",
)


@dataclass(frozen=True)
class Question:
    """What the page answers first, with what the runs have of ``shows``: ``notebook.kind.name`` each."""

    title: str
    text: str
    shows: tuple[str, ...]


# The page's own tables go by the name of `report`.
QUESTIONS = (
    Question(
        "What is the problem?",
        "From a broadcast and the players' positions, name every event on the ball: who did what, at "
        "which frame. Few classes make up nearly all events, and many an actor is not in the picture.",
        (
            "00_look_at_the_data.figures.frame",
            "01_class_imbalance.metrics.pass_to_tackle_box",
            "01_class_imbalance.metrics.TAAD_macro_f1",
            "01_class_imbalance.metrics.DST_macro_f1",
            "01_class_imbalance.figures.class_counts",
            "01_class_imbalance.figures.visibility",
        ),
    ),
    Question(
        "What did each extension bring?",
        "Each is compared with the same system without it. An interval of a gain that holds zero means: "
        "no difference was found.",
        (
            "08_ablations.figures.effects",
            "08_ablations.tables.ablations",
            "08_ablations.figures.scores",
            "03_train_taad_gnn.metrics.gnn_gain_macro_f1",
            "04_train_dst_gnn.metrics.fusion_gain",
            "06_postprocessing.metrics.base_macro_f1",
            "06_postprocessing.metrics.few_numbers_held_out",
            "06_postprocessing.metrics.few_numbers_gain_held_out",
            "07_ensemble.metrics.rescored_macro_f1",
            "07_ensemble.metrics.rescored_gain",
            "08_ablations.metrics.full_over_dst",
            "04_train_dst_gnn.figures.f1_by_class",
            "05_class_weighting.figures.f1_by_class",
            "06_postprocessing.figures.tuned_against_held_out",
            "07_ensemble.figures.scores",
        ),
    ),
    Question(
        "What is real and what is synthetic?",
        "The videos and the tactical data are not public; where they are not at hand, a simulator of "
        "the same statistics takes their place. There the sequence model rehearses on matches of that "
        "same simulator, which flatters it: see what it is worth without.",
        (
            "report.tables.data",
            "04_train_dst_gnn.metrics.unrehearsed_macro_f1",
            "04_train_dst_gnn.metrics.rehearsal_gain",
            "00_look_at_the_data.figures.events",
            "01_class_imbalance.figures.real_against_simulated",
        ),
    ),
    Question(
        "Where does it still fail?",
        "By class, by what the broadcast shows of the actor, and by what is taken for what.",
        (
            "08_ablations.figures.per_class",
            "08_ablations.figures.by_visibility",
            "08_ablations.figures.confusion",
            "01_class_imbalance.figures.f1_against_frequency",
            "03_train_taad_gnn.figures.recall_by_visibility",
            "04_train_dst_gnn.figures.visibility",
            "07_ensemble.tables.visibility",
            "02_train_taad.figures.confusion",
        ),
    ),
    Question(
        "What does it cost?",
        "On the machine named above.",
        (
            "08_ablations.tables.cost",
            "08_ablations.tables.checkpointing",
            "report.tables.cost",
        ),
    ),
)


@dataclass(frozen=True)
class Failure:
    """A notebook that did not run to its end, and why."""

    notebook: str
    reason: str


def run_notebooks(
    folder: str | Path, profile: str | None = None, notebooks: Sequence[Path] | None = None
) -> list[Failure]:
    """Execute notebooks into ``folder/<notebook>/``; one that is done and unchanged is not run again.

    A failing notebook does not stop the others, and what it had finished earlier is gone. Killed at any
    time and started again, it goes on with the notebook that it was at. Of two at work in one folder,
    one waits for the notebook that the other is at.

    Parameters
    ----------
    notebooks
        Paths; by default all of the project's, in order.

    Returns
    -------
    list[Failure]
        Empty when all went well.
    """
    folder, profile = Path(folder).resolve(), resolve_profile(profile)
    notebooks = list(notebooks) if notebooks else sorted(NOTEBOOKS.glob("*.ipynb"))
    if not notebooks:
        raise DataError(f"{NOTEBOOKS}: no notebooks")
    failures = []
    progress = tqdm(notebooks, desc="report", unit="notebook")
    for path in progress:
        progress.set_postfix_str(path.stem)
        run_dir = folder / path.stem
        make_folder(run_dir)
        stamp = _stamp(path, profile)
        with locked(run_dir):
            if not _finished(run_dir, stamp):
                reason = _run(path, run_dir, profile)
                if reason:
                    failures.append(Failure(path.stem, reason))
                else:
                    with atomic_write(run_dir / "stamp.json") as stream:
                        json.dump(stamp, stream)
            executed, page = run_dir / path.name, run_dir / "notebook.html"
            if executed.is_file() and not (
                page.is_file() and page.stat().st_mtime_ns >= executed.stat().st_mtime_ns
            ):
                write_notebook_page(executed, page)
    return failures


def _run(path: Path, run_dir: Path, profile: str) -> str | None:
    """Execute one notebook; what went wrong, or None."""
    for name in ("stamp.json", "metrics.json"):
        (run_dir / name).unlink(missing_ok=True)
    # Relative to the notebook, so that what is published names no folder of this machine.
    results = os.path.relpath(run_dir, path.parent)
    try:
        papermill.execute_notebook(
            path,
            run_dir / path.name,
            parameters={"profile": profile, "run_dir": results},
            cwd=path.parent,
            progress_bar=False,
            config=Config(KernelManager={"transport_encryption": "auto"}),  # where the kernel can
        )
    except papermill.PapermillExecutionError as error:
        return f"cell {error.exec_count}: {error.ename}: {error.evalue}"
    except Exception as error:  # a dead kernel, a broken file: the other notebooks still run
        return f"{type(error).__name__}: {error}"
    if not (run_dir / "metrics.json").is_file():
        return "it wrote no metrics.json (no run.finish() at its end?)"
    return None


def write_notebook_page(executed: Path, path: Path) -> None:
    """Write an executed notebook as one HTML page that loads nothing from anywhere."""
    exporter = HTMLExporter(template_name="basic")  # the notebook alone, without nbconvert's page
    attributes = {"*": ["class", "alt", "src", "href", "title"]}
    exporter.register_preprocessor(SanitizeHTML(tags=_TAGS, attributes=attributes), enabled=True)
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:  # progress bars and sliders are nothing without a kernel
        live = "application/vnd.jupyter.widget-view+json"
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if live not in output.get("data", ())]
    body, _ = exporter.from_notebook_node(notebook)
    body = re.sub(
        r"data:image/png;base64,([\w+/=\s]+)", lambda found: _picture(base64.b64decode(found[1])), body
    )
    write_page(
        "notebook.html",
        path,
        title=_headline(notebook)[0],
        body=Markup(body),
        code_style=Markup(HtmlFormatter(style="default").get_style_defs(".highlight")),
        dark_code_style=Markup(
            HtmlFormatter(style="github-dark").get_style_defs(":root:not(.paper) .highlight")
        ),
    )


def _stamp(path: Path, profile: str) -> dict[str, str]:
    """What a notebook's results depend on: its text, the library's, the profile, the data found."""
    digest = hashlib.sha256(path.read_bytes())
    package = Path(__file__).parent
    sources = sorted(p for p in package.rglob("*") if p.suffix in (".py", ".json"))
    for source in [*sources, *sorted(path.parent.glob("*.toml"))]:  # a grid lies beside its notebook
        digest.update(source.read_bytes())
    for folder in filter(None, (release_dir(), data_dir())):
        for file in sorted(p for p in folder.rglob("*") if p.suffix in (".json", ".h5", ".mp4")):
            digest.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    for name in ("FOOTPASS_RELEASE", "FOOTPASS_DATA"):
        digest.update(f"{name}={os.environ.get(name)}".encode())
    return {"profile": profile, "inputs": digest.hexdigest()}


def _finished(run_dir: Path, stamp: dict[str, str]) -> bool:
    file = run_dir / "stamp.json"
    return file.is_file() and json.loads(file.read_text()) == stamp


def build_page(folder: str | Path, failures: Sequence[Failure] = ()) -> Path:
    """Write ``index.html`` from every ``metrics.json`` below a folder of runs.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        If there is no finished run and no failure to tell of.
    """
    folder = Path(folder)
    runs = []
    for path in sorted(folder.glob("*/metrics.json")):
        with suppress(FileNotFoundError):  # another report in this folder has just begun that notebook
            runs.append(_load_run(path))
    if not runs and not failures:
        raise DataError(f"{folder}: no run with a metrics.json in it")
    answers, shown = _answers(runs)
    write_page(
        "report.html",
        folder / "index.html",
        runs=runs,
        answers=answers,
        shown=shown,
        failures=failures,
        simulated=[source for run in runs for source in run["data"] if source["simulated"]],
    )
    return folder / "index.html"


def publish(folder: str | Path, out: str | Path) -> int:
    """Copy a report's pages and figures to where it is kept under version control; its size in bytes.

    Checkpoints, logits and pictures, which the pages have inside, stay behind.

    Raises
    ------
    DataError
        If there is no report in the folder, or the copy cannot be written.
    """
    folder, out = Path(folder), Path(out)
    if not (folder / "index.html").is_file():
        raise DataError(f"{folder}: no report there: make one first (python -m footpass report)")
    finished = [path.parent.name for path in sorted(folder.glob("*/metrics.json"))]
    files = [f"{name}/{file}" for name in finished for file in ("metrics.json", "notebook.html")]
    files = ["index.html", *(file for file in files if (folder / file).is_file())]
    for file in files:
        make_folder((out / file).parent)
        with atomic_write(out / file, "wb") as stream:
            stream.write((folder / file).read_bytes())
    return sum((out / file).stat().st_size for file in files)


def _answers(runs: Sequence[dict]) -> tuple[list[dict], set[str]]:
    """What there is for each of `QUESTIONS`, and the ids of all that."""
    own = {"id": "report", "title": "", "figures": [], "metrics": [], "tables": _tables(runs)}
    there = {
        f"{run['id']}.{kind}.{item['name']}": item | {"run": run}
        for run in [*runs, own]
        for kind in ("figures", "tables", "metrics")
        for item in run[kind]
    }
    answers = []
    for question in QUESTIONS:
        answer: dict[str, Any] = {"title": question.title, "text": question.text}
        for kind in ("figures", "tables", "metrics"):
            wanted = [name for name in question.shows if name.split(".")[1] == kind]
            answer[kind] = [{**there[name], "id": name} for name in wanted if name in there]
        if any(answer[kind] for kind in ("figures", "tables", "metrics")):
            answers.append(answer)
    return answers, {name for question in QUESTIONS for name in question.shows}


def _tables(runs: Sequence[dict]) -> list[dict]:
    """What each notebook read and how long it took, like tables of a run."""
    data = [
        [
            run["title"],
            source["what"],
            "synthetic" if source["simulated"] else "real",
            source["fingerprint"],
        ]
        for run in runs
        for source in run["data"]
    ]
    cost = [[run["title"], run["seconds"] / 60] for run in runs]
    return [
        {
            "name": "data",
            "caption": "What each notebook read.",
            "columns": ["notebook", "data", "kind", "fingerprint"],
            "rows": data,
            "digits": 0,
        },
        {
            "name": "cost",
            "caption": "Time that each notebook took; what another had trained is not trained again.",
            "columns": ["notebook", "minutes"],
            "rows": cost,
            "digits": 1,
        },
    ]


def _load_run(path: Path) -> dict:
    """A run's ``metrics.json``, its pictures embedded, with its notebook's title and question."""
    run = json.loads(path.read_text(encoding="utf-8"))
    for figure in run["figures"]:
        figure["address"] = _picture((path.parent / figure["file"]).read_bytes())
    run["id"] = name = path.parent.name
    run["link"] = f"{name}/notebook.html"
    executed = path.parent / f"{name}.ipynb"
    run["title"], run["question"] = (
        _headline(nbformat.read(executed, as_version=4)) if executed.is_file() else (name, "")
    )
    return run


def _headline(notebook: nbformat.NotebookNode) -> tuple[str, str]:
    """Title and question of a notebook: the first two paragraphs of its first cell."""
    text = notebook.cells[0].source if notebook.cells else ""
    title, _, rest = text.partition("\n")
    return title.lstrip("# "), rest.strip().partition("\n\n")[0].strip("*")


def _picture(png: bytes) -> str:
    """A picture as an address that holds it, the smallest that looks the same."""
    versions = [("png", png)]
    for options in ({"lossless": True}, {"quality": 70}):
        stream = io.BytesIO()
        Image.open(io.BytesIO(png)).save(stream, "webp", **options)
        versions.append(("webp", stream.getvalue()))
    kind, data = min(versions, key=lambda version: len(version[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
