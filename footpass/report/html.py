"""HTML pages: one file each that opens offline, every string from data escaped."""

import json
from pathlib import Path

import jinja2
from markupsafe import Markup

from footpass.files import atomic_write
from footpass.report.run import format_cell, format_metric


def write_page(template: str, path: str | Path, **values: object) -> None:
    """Fill a template of this folder, whole or not at all."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"cell": format_cell, "metric": format_metric, "script_json": _script_json}
    page = environment.get_template(template).render(**values)
    with atomic_write(path) as stream:
        stream.write(page)


def _script_json(value: object) -> Markup:
    """JSON for inside a script element: no ``<``, so no string in it can end the element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
