"""The walls between the rooms: who may import whom, and what only one room may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.served import ROOT

PACKAGE = ROOT / "watcher"
MAX_LINES = 400

# From top to bottom. A room may import from the rows below its own, and from itself.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"web", "sinks"},
    {"view", "past"},
    {"stream", "replica", "client"},
    {"hub"},
    {"sqlite"},
    {"history"},
    {"wakeup", "wire"},
    {"changes"},
    {"errors"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

# Code that only one room may know, by the first parts of its dotted name.
ONLY_IN = {
    "fastapi": {"web"},
    "starlette": {"web"},
    "uvicorn": {"cli", "web"},
    "argparse": {"cli"},
}

MODULES = sorted(PACKAGE.rglob("*.py"))
# Names by which a module would print, or read what its caller did not tell it.
PRINTING = {"print", "input"}
ENVIRONMENT = {"environ", "getenv"}
# Hands the environment on to the process it starts.
STARTS_PROCESSES = "watcher.sqlite.supervisor"


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The room of a dotted name: `watcher.web.app` is in `web`, `watcher` itself in none."""
    return module.split(".")[1] if "." in module else ""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def names() -> frozenset[str]:
    return frozenset(map(dotted, MODULES))


def for_types_only(path: Path) -> frozenset[ast.AST]:
    """The nodes under `if TYPE_CHECKING:`."""
    return frozenset(
        inner
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    )


def imports(path: Path, *, types: bool = True) -> Iterator[str]:
    """Every module that a module imports, anywhere in it; within the package the exact module.

    Args:
        path: the module's file.
        types: whether imports that only the type checker sees count.
    """
    left_out = frozenset() if types else for_types_only(path)
    for node in ast.walk(tree(path)):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            source = node.module or ""
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield inner if inner in names() else source


def inner_imports(path: Path, *, types: bool = True) -> set[str]:
    return {name for name in imports(path, types=types) if name.split(".")[0] == "watcher"}


def by_name(path: Path) -> str:
    return dotted(path)


def test_every_module_has_a_layer() -> None:
    rooms = {room(dotted(path)) for path in MODULES} - {""}
    assert rooms <= LEVEL.keys()


# The package itself shows public names of any room.
@pytest.mark.parametrize("path", [p for p in MODULES if room(dotted(p))], ids=by_name)
def test_imports_run_downwards(path: Path) -> None:
    own = room(dotted(path))
    for name in inner_imports(path):
        other = room(name)
        assert other, f"{dotted(path)} imports the whole package"
        assert other == own or LEVEL[other] > LEVEL[own], f"{dotted(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_each_tool_stays_in_its_room(path: Path) -> None:
    for name in imports(path):
        allowed = ONLY_IN.get(name.split(".")[0])
        assert allowed is None or room(dotted(path)) in allowed, f"{dotted(path)} imports {name}"


@pytest.mark.parametrize("path", [p for p in MODULES if room(dotted(p)) != "cli"], ids=by_name)
def test_only_the_command_line_prints_and_reads_the_environment(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in PRINTING, f"{dotted(path)}:{node.lineno}"
        if isinstance(node, ast.Attribute) and dotted(path) != STARTS_PROCESSES:
            assert node.attr not in ENVIRONMENT, f"{dotted(path)}:{node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=by_name)
def test_modules_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_there_is_no_import_cycle() -> None:
    # Importing `a.b` runs `a/__init__.py` as well, but a package that shows names of its own
    # modules is no cycle: only what modules import themselves is followed.
    graph = {dotted(path): inner_imports(path, types=False) - {dotted(path)} for path in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_importing_the_package_loads_no_engine_and_no_web() -> None:
    heavy = ["apsw", "fastapi", "starlette", "uvicorn", "watcher.hub"]
    code = f"import sys, watcher; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
