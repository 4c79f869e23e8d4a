"""The report: run the notebooks headless, then build one HTML page from their ``metrics.json``.

The page and the executed notebooks open offline: pictures are embedded, nothing is loaded from a
network, and every string that comes from data is escaped.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import nbformat
import papermill
from nbconvert import HTMLExporter
from nbconvert.preprocessors.sanitize import SanitizeHTML
from tqdm.auto import tqdm

from footpass.files import DataError, atomic_write, release_dir
from footpass.runs import PROJECT, format_cell, resolve_profile

NOTEBOOKS = PROJECT / "notebooks"
# Markup that a cell's output may hold: scripts, styles and frames are not among it.
_TAGS = re.findall(
    r"\w+",
    "a b blockquote br code div em h1 h2 h3 h4 hr i img li ol p pre small span strong sub sup ul "
    "table caption thead tbody tr th td",
)
_TEMPLATE = Path(__file__).with_name("report.html")


@dataclass(frozen=True)
class Failure:
    """A notebook that did not run to its end, and why."""

    notebook: str
    reason: str


def run_notebooks(
    folder: str | Path, profile: str | None = None, notebooks: Sequence[Path] | None = None
) -> list[Failure]:
    """Execute notebooks into ``folder/<notebook>/``; one that is done and unchanged is not run again.

    A failing notebook does not stop the others, and what it had finished earlier is gone.

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
        stamp = _stamp(path, profile)
        if _finished(run_dir, stamp):
            continue
        reason = _run(path, run_dir, profile)
        if reason:
            failures.append(Failure(path.stem, reason))
            continue
        with atomic_write(run_dir / "stamp.json") as stream:
            json.dump(stamp, stream)
    return failures


def _run(path: Path, run_dir: Path, profile: str) -> str | None:
    """Execute one notebook and render it; what went wrong, or None."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in ("stamp.json", "metrics.json"):
        (run_dir / name).unlink(missing_ok=True)
    executed = run_dir / path.name
    reason = None
    # Relative to the notebook, so that what is published names no folder of this machine.
    results = os.path.relpath(run_dir, path.parent)
    try:
        papermill.execute_notebook(
            path,
            executed,
            parameters={"profile": profile, "run_dir": results},
            cwd=path.parent,
            progress_bar=False,
        )
        if not (run_dir / "metrics.json").is_file():
            reason = "it wrote no metrics.json (no run.finish() at its end?)"
    except papermill.PapermillExecutionError as error:
        reason = f"cell {error.exec_count}: {error.ename}: {error.evalue}"
    except Exception as error:  # a dead kernel, a broken file: the other notebooks still run
        reason = f"{type(error).__name__}: {error}"
    if executed.is_file():
        with atomic_write(run_dir / "notebook.html") as stream:
            stream.write(notebook_html(executed))
    return reason


def notebook_html(path: str | Path) -> str:
    """An executed notebook as one HTML page that loads nothing from anywhere."""
    # Each of these is an address in nbconvert's page by default; none is needed without widgets.
    nothing = dict.fromkeys(("require_js_url", "jquery_url", "mathjax_url", "mermaid_js_url"), "")
    exporter = HTMLExporter(embed_images=True, **nothing)
    attributes = {"*": ["class", "alt", "src", "href", "title"]}
    exporter.register_preprocessor(SanitizeHTML(tags=_TAGS, attributes=attributes), enabled=True)
    body, _ = exporter.from_notebook_node(nbformat.read(path, as_version=4))
    # What is left of them: empty script tags, and imports of modules from a network.
    body = re.sub(r'<script[^>]*src=""[^>]*>\s*</script>', "", body)
    return re.sub(r'<script type="module">.*?</script>', "", body, flags=re.DOTALL)


def _stamp(path: Path, profile: str) -> dict[str, str]:
    """What a notebook's results depend on: its text, the library's, the profile, the data found."""
    digest = hashlib.sha256(path.read_bytes())
    package = Path(__file__).parent
    for source in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".json")):
        digest.update(source.read_bytes())
    release = release_dir()
    for file in sorted(release.rglob("*.json")) if release else ():
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
    runs = [_load_run(path) for path in sorted(folder.glob("*/metrics.json"))]
    if not runs and not failures:
        raise DataError(f"{folder}: no run with a metrics.json in it")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"cell": format_cell, "metric": _metric}
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        runs=runs,
        failures=failures,
        simulated=[source for run in runs for source in run["data"] if source["simulated"]],
    )
    with atomic_write(folder / "index.html") as stream:
        stream.write(page)
    return folder / "index.html"


def _load_run(path: Path) -> dict:
    """A run's ``metrics.json``, its pictures embedded, with its notebook's title and question."""
    run = json.loads(path.read_text(encoding="utf-8"))
    for figure in run["figures"]:
        figure["data"] = base64.b64encode((path.parent / figure["file"]).read_bytes()).decode()
    name = path.parent.name
    run["link"] = f"{name}/notebook.html"
    executed = path.parent / f"{name}.ipynb"
    run["title"], run["question"] = _headline(executed) if executed.is_file() else (name, "")
    return run


def _headline(notebook: Path) -> tuple[str, str]:
    """Title and question of a notebook: the first two paragraphs of its first cell."""
    text = nbformat.read(notebook, as_version=4).cells[0].source
    title, _, rest = text.partition("\n")
    return title.lstrip("# "), rest.strip().partition("\n\n")[0].strip("*")


def _metric(value: float) -> str:
    """A headline figure: a share with four decimals, as papers give F1; a larger number with one."""
    return f"{value:.4f}" if abs(value) < 2 else f"{value:,.1f}"
