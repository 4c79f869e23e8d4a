"""Notebooks are thin: the rules that keep logic in the library, checked."""

import ast
import shutil
import subprocess

import nbformat
import pytest

from footpass.files import PROJECT
from footpass.report.notebooks import NOTEBOOKS

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
LONGEST_CELL = 20  # lines


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert PATHS


def test_starts_with_a_title_and_a_question(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ") and "?" in first.source


def test_its_question_is_answered(notebook):
    assert sum("run.answer(" in cell.source for cell in code_cells(notebook)) == 1


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_outputs_are_committed(path):
    """Of what is in git: to save a notebook in JupyterLab breaks no test."""
    if not shutil.which("git") or not (PROJECT / ".git").exists():
        pytest.skip("needs a git checkout")
    command = ["git", "show", f"HEAD:./{path.name}"]
    shown = subprocess.run(command, cwd=path.parent, capture_output=True, check=False)
    if shown.returncode:
        pytest.skip("not in git yet")
    notebook = nbformat.reads(shown.stdout.decode(), as_version=4)
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(notebook))


def test_kernel_is_python3(notebook):
    assert notebook.metadata.kernelspec.name == "python3"


def test_one_parameters_cell_of_literals(notebook):
    cells = [c for c in code_cells(notebook) if "parameters" in c.metadata.get("tags", ())]
    assert len(cells) == 1
    names = []
    for statement in ast.parse(cells[0].source).body:
        assert isinstance(statement, ast.Assign)
        ast.literal_eval(statement.value)
        names += [target.id for target in statement.targets]
    assert {"profile", "data", "run_dir", "seed"} <= set(names)


def test_no_logic_and_no_long_cells(notebook):
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.source
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda), cell.source
