"""Run notebooks headless and make a page of each."""

import asyncio
import base64
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from markupsafe import Markup
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from nbconvert.preprocessors.sanitize import SanitizeHTML
from PIL import Image
from pygments.formatters import HtmlFormatter
from tqdm.auto import tqdm
from traitlets.config import Config

from footpass.configs import PROFILES, profile_name, resolve_profile
from footpass.data.paths import data_dir, release_dir
from footpass.files import (
    PROJECT,
    DataError,
    fingerprint,
    identity,
    locked,
    make_folder,
    sources,
    write_json,
)
from footpass.report.html import write_page

NOTEBOOKS = PROJECT / "notebooks"
# What a page looks like; it is made anew with these, without its notebook being run.
_LOOK = [Path(__file__).with_name("templates") / name for name in ("notebook.html", "page.css")]

# Markup that a cell's output may hold: scripts, styles and frames are not among it.
_TAGS = re.findall(
    r"\w+",
    "a b blockquote br code div em h1 h2 h3 h4 hr i img li ol p pre small span strong sub sup ul "
    "table caption thead tbody tr th td",
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

    ``notebooks`` are all of the project's by default. Returns what failed.
    """
    folder, profile = Path(folder).resolve(), resolve_profile(profile)
    notebooks = list(notebooks) if notebooks else sorted(NOTEBOOKS.glob("*.ipynb"))
    if not notebooks:
        raise DataError("no notebooks", NOTEBOOKS)
    failures = []
    progress = tqdm(notebooks, desc="report", unit="notebook")
    for path in progress:
        progress.set_postfix_str(path.stem)
        run_dir = folder / path.stem
        make_folder(run_dir)
        inputs = _inputs(path, profile)
        with locked(run_dir):
            stamp, executed = run_dir / "stamp.json", run_dir / path.name
            page = run_dir / "notebook.html"
            if not (stamp.is_file() and stamp.read_bytes() == json.dumps(inputs).encode()):
                if reason := _run(path, run_dir, profile):
                    failures.append(Failure(path.stem, reason))
                else:
                    write_json(inputs, stamp)
            rendered = page.stat().st_mtime_ns if page.is_file() else 0
            if executed.is_file() and any(f.stat().st_mtime_ns > rendered for f in (executed, *_LOOK)):
                write_notebook_page(executed, page)
    return failures


def _run(path: Path, run_dir: Path, profile: str) -> str | None:
    """Execute one notebook; what went wrong, or None."""
    for name in ("stamp.json", "metrics.json"):
        (run_dir / name).unlink(missing_ok=True)
    # Relative to the notebook, so that what is published names no folder of this machine.
    results = os.path.relpath(run_dir, path.parent)
    if profile not in PROFILES:
        profile = os.path.relpath(profile, path.parent)
    with TemporaryFile() as said:
        try:
            papermill.execute_notebook(
                path,
                run_dir / path.name,
                parameters={"profile": profile, "run_dir": results},
                cwd=path.parent,
                progress_bar=False,
                config=Config(KernelManager={"transport_encryption": "auto"}),  # where the kernel can
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # only what it dies of
                kernel_manager_class=_kernel_that_writes_to(said),
                on_cell_start=_forget_dead_kernels,
            )
        except papermill.PapermillExecutionError as error:
            return f"cell {error.exec_count}: {error.ename}: {error.evalue}"
        except OSError as error:  # a full disk, on which nothing goes on
            reason = f"cannot be written: {error.strerror or error}"
            raise DataError(reason, run_dir / path.name) from error
        except Exception as error:  # a dead kernel, a broken file: the other notebooks still run
            said.seek(0)
            *_, last = ["", *said.read().decode(errors="replace").splitlines()]
            return ": ".join(filter(None, (type(error).__name__, f"{error}", last)))
    if not (run_dir / "metrics.json").is_file():
        return "it wrote no metrics.json (no run.finish() at its end?)"
    return None


def _kernel_that_writes_to(stream: IO[bytes]) -> type[AsyncKernelManager]:
    """Kernels whose own stderr, which is not their cells', goes to ``stream``.

    One that is ended at the wrong moment writes tracebacks of its sockets there, no news to anybody.
    """
    start = partialmethod(AsyncKernelManager.start_kernel, stderr=stream)
    return type("Kernel", (AsyncKernelManager,), {"start_kernel": start})


def _forget_dead_kernels(**of: object) -> None:
    """Before a cell: that its kernel has died is no news where nobody waits for the cell any more.

    A signal leaves the cell's task behind, and papermill ends the kernel in the same event loop.
    """

    def forget(loop: asyncio.AbstractEventLoop, context: dict) -> None:
        if not isinstance(context.get("exception"), DeadKernelError):
            loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(forget)


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
    png = r"data:image/png;base64,([\w+/=\s]+)"
    body = re.sub(png, lambda found: _picture(base64.b64decode(found[1])), body)
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(":root:not(.paper) .highlight")
    styles = {"code_style": Markup(light), "dark_code_style": Markup(dark)}
    write_page("notebook.html", path, title=headline(executed)[0], body=Markup(body), **styles)


def _inputs(path: Path, profile: str) -> str:
    """Fingerprint of all that a notebook's results depend on; minutes, so the code is among it."""
    data = [
        [str(file), *identity(file)]
        for folder in filter(None, (release_dir(), data_dir()))
        for file in sorted(folder.rglob("*"))
        if file.suffix in (".json", ".h5", ".mp4")
    ]
    named = {name: os.environ.get(name) for name in ("FOOTPASS_RELEASE", "FOOTPASS_DATA")}
    beside = sorted(path.parent.glob("*.toml"))  # a grid lies beside its notebook
    own = [] if profile in PROFILES else [Path(profile)]
    return fingerprint(path, *sources(), *beside, *own, data, named, profile_name(profile))


def headline(path: Path) -> tuple[str, str]:
    """Title and question of a notebook: the first two paragraphs of its first cell."""
    notebook = nbformat.read(path, as_version=4)
    text = notebook.cells[0].source if notebook.cells else ""
    title, _, rest = text.partition("\n")
    return title.lstrip("# "), rest.strip().partition("\n\n")[0].strip("*")


def _picture(png: bytes) -> str:
    """A picture as an address that holds it, the smallest that looks the same."""
    versions = [("png", png)]
    for options in ({"lossless": True}, {"quality": 55}):
        stream = io.BytesIO()
        Image.open(io.BytesIO(png)).save(stream, "webp", **options)
        versions.append(("webp", stream.getvalue()))
    kind, data = min(versions, key=lambda version: len(version[1]))
    return address(kind, data)


def address(kind: str, picture: bytes) -> str:
    """An address that holds a picture."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
