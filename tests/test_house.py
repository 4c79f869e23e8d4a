"""The house keeps its shape: which wing may know which, and no modules that import in circles."""

import ast
from graphlib import TopologicalSorter

import pytest

from footpass.files import PROJECT

PACKAGE = PROJECT / "footpass"
NOUNS = {path.stem for path in PACKAGE.glob("*.py")}
# Wing -> what it must never import, directly or through others. Nouns at the top import no wing at all.
FORBIDDEN = {
    "models": {"sequence", "data", "training", "detectors", "simulate"},
    "training": {"models", "data", "detectors", "sequence"},
    "data": {"models", "training", "simulate", "detectors", "sequence"},
    "simulate": {"training", "models", "detectors", "sequence"},
    "detectors": {"sequence", "postprocess", "simulate"},
    "sequence": {"detectors", "simulate", "postprocess"},
    "postprocess": {"detectors", "sequence", "training", "models"},
    "report": {"detectors", "sequence", "training", "torch"},
}


def imports() -> dict[str, set[str]]:
    """Module -> what it imports when it is imported: modules of the package and other packages."""
    names = {
        ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }
    found = {}
    for name, path in names.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[name] = set()
        for node in _run_at_import(tree):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= {m if m in names else node.module for m in modules}
        found[name].discard(name)
    return found


def _run_at_import(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue  # what a function imports is not needed until it is called
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _run_at_import(child)


IMPORTS = imports()


def wing(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "footpass" and len(parts) > 1 else parts[0]


def reached(start: str) -> set[str]:
    """What a module imports, directly or through modules of the package."""
    seen, rest = set(), [start]
    while rest:
        for other in IMPORTS.get(rest.pop(), ()):
            if other not in seen:
                seen.add(other)
                rest.append(other)
    return seen


def test_no_modules_import_each_other_in_circles():
    graph = {name: {other for other in others if other in IMPORTS} for name, others in IMPORTS.items()}
    assert set(TopologicalSorter(graph).static_order()) >= set(IMPORTS)


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_wing_does_not_know_what_it_must_not(name):
    for module in (module for module in IMPORTS if wing(module) == name):
        assert not {wing(other) for other in reached(module)} & FORBIDDEN[name], module


def test_asserts_only_tell_types_so_that_python_O_checks_the_same():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                told = ast.unparse(node.test)
                assert told.endswith(" is not None") or told.startswith("isinstance("), (path, told)


def test_nouns_know_no_wing():
    for module in (module for module in IMPORTS if wing(module) in NOUNS - {"__main__", "__init__"}):
        known = {wing(other) for other in reached(module) if other.startswith("footpass.")}
        assert known <= NOUNS, module
