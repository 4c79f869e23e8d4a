"""The report: run the notebooks headless, then build one HTML page from their ``metrics.json``.

The page and the executed notebooks open offline: pictures are embedded, nothing is loaded from a
network, and every string that comes from data is escaped.
"""

import re
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from footpass.files import DataError, atomic_write, inside, make_folder
from footpass.report.html import write_page
from footpass.report.notebooks import Failure, _picture, address, headline
from footpass.report.record import Source, read_record
from footpass.zoo import cards


@dataclass(frozen=True)
class Question:
    """What the page answers first, with what the runs have of ``shows``: ``notebook.kind.name`` each."""

    title: str
    text: str
    shows: list[str]


_TEXT = Path(__file__).with_name("questions.toml").read_text(encoding="utf-8")
QUESTIONS = tuple(Question(**question) for question in tomllib.loads(_TEXT)["question"])


def build_page(folder: str | Path, failures: Sequence[Failure] = ()) -> Path:
    """Write ``index.html`` from every ``metrics.json`` below a folder of runs; returns its path."""
    folder = Path(folder)
    runs = []
    for path in sorted(folder.glob("*/metrics.json")):
        try:
            runs.append(_load_run(path))
        except DataError:
            if path.exists():
                raise  # otherwise another report in this folder has just begun that notebook
    if not runs and not failures:
        raise DataError("no run with a metrics.json in it", folder)
    answers, shown = _answers(runs)
    if models := cards():
        write_page("models.html", folder / "models.html", cards=models)
    revisions = [each for run in runs for one in run["trained"] for each in one["revisions"]]
    sources = [source for run in runs for source in run["data"]]
    told: dict[str, Any] = {
        "trained": list(dict.fromkeys(each or "unknown" for each in revisions)),
        "simulated": [source for source in sources if source["simulated"]],
        "real": [source for source in sources if not source["simulated"]],
    }
    told |= {"runs": runs, "models": models, "answers": answers, "shown": shown, "failures": failures}
    write_page("report.html", folder / "index.html", **told)
    return folder / "index.html"


def publish(folder: str | Path, out: str | Path) -> int:
    """Copy a report's pages and figures to where it is kept under version control; its size in bytes.

    Checkpoints, logits and pictures, which the pages have inside, stay behind. What is there
    of notebooks that the report has no more is removed.
    """
    folder, out = Path(folder), Path(out)
    if not (folder / "index.html").is_file():
        raise DataError("no report there: make one first (python -m footpass report)", folder)
    finished = [path.parent.name for path in sorted(folder.glob("*/metrics.json"))]
    files = [f"{name}/{file}" for name in finished for file in ("metrics.json", "notebook.html")]
    files.append("models.html")
    files = ["index.html", *(file for file in files if (folder / file).is_file())]
    for file in files:
        make_folder((out / file).parent)
        with atomic_write(out / file, "wb") as stream:
            stream.write((folder / file).read_bytes())
    for path in out.glob("*/metrics.json"):
        if path.parent.name not in finished:  # of a notebook that the report has no more
            path.unlink()
            path.with_name("notebook.html").unlink(missing_ok=True)
            with suppress(OSError):  # somebody keeps something else there
                path.parent.rmdir()
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
        found = [name for name in question.shows if name in there]
        for kind in ("figures", "tables", "metrics"):
            answer[kind] = [{**there[name], "id": name} for name in found if name.split(".")[1] == kind]
        if found:
            answers.append(answer)
    return answers, {name for question in QUESTIONS for name in question.shows}


def _tables(runs: Sequence[dict]) -> list[dict]:
    """What each notebook read and how long it took, like tables of a run."""
    data = [
        [run["title"], one["what"], one["kind"], one["fingerprint"]]
        for run in runs
        for one in run["data"]
    ]
    cost = [[run["title"], run["seconds"] / 60] for run in runs]
    stages = {one["stage"]: one for run in runs for one in run["trained"]}
    trained = [
        [name, ", ".join(each or "unknown" for each in one["revisions"]), one["seconds"] / 60]
        for name, one in stages.items()
    ]
    took = "Time that each notebook took; what another had trained is not trained again."
    made = "Models, the revision that trained each, and how long it took: no time for those of the zoo."
    tables = (
        ("data", "What each notebook read.", ["notebook", "data", "kind", "fingerprint"], data, 0),
        ("cost", took, ["notebook", "minutes"], cost, 1),
        ("trained", made, ["model", "revision", "minutes"], trained, 1),
    )
    names = ("name", "caption", "columns", "rows", "digits")
    return [dict(zip(names, table, strict=True)) for table in tables if table[3]]


def _load_run(path: Path) -> dict:
    """A run's ``metrics.json``, its pictures embedded, with its notebook's title and question."""
    record = read_record(path)
    run = asdict(record)
    for figure in run["figures"]:
        file = inside(path.parent, figure["file"], "figure")
        if not file.is_file():
            raise DataError(f"not there, and {path} shows it: remove its folder, it is made anew", file)
        picture = file.read_bytes()
        moving = figure["file"].endswith(".webp")
        figure["address"] = address("webp", picture) if moving else _picture(picture)
    for source, known in zip(run["data"], record.data, strict=True):
        source["kind"] = known.kind
    run["id"] = name = path.parent.name
    run["link"] = f"{name}/notebook.html"
    run["of"] = "; ".join(dict.fromkeys(map(_words, record.data)))
    executed = path.parent / f"{name}.ipynb"
    run["title"], run["question"] = headline(executed) if executed.is_file() else (name, "")
    return run


def _words(source: Source) -> str:
    """Data, and where the systems on them come from: no name may stand for two things on a page."""
    what = source.what
    if source.simulated and not re.search("simulated|synthetic", what):
        what += ", simulated"
    return f"systems {source.systems}, on: {what}" if source.systems else what
