"""Every fault that must be survived has a test, and docs/faults.md names it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

import pytest

from tests.served import ROOT

DOCUMENT = ROOT / "docs" / "faults.md"
WANTED = [
    *(f"D{n}" for n in range(1, 28)),
    *(f"P{n}" for n in range(1, 12)),
    *(f"N{n}" for n in range(1, 9)),
    *(f"H{n}" for n in range(1, 11)),
]
_ROW = re.compile(r"^\| ([A-Z]\d+) \| (.+?) \| (.+?) \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(\w+\.py)` ((?:test_\w+,? ?)+)")


def marked() -> Iterator[tuple[str, str]]:
    """Each fault a test claims to prove, with the test's file and name."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for fault in faults_of(node):
                    yield fault, f"{path.name} {node.name}"


def faults_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """The faults in the decorators `@pytest.mark.fault(…)` of a function."""
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
            assert function.name.startswith("test_"), f"{function.name} is never run"
            assert decorator.args, f"{function.name} names no fault"
            yield from (ast.literal_eval(argument) for argument in decorator.args)


@cache
def proofs() -> dict[str, frozenset[str]]:
    """The tests of each fault."""
    found: dict[str, set[str]] = defaultdict(set)
    for fault, test in marked():
        found[fault].add(test)
    return {fault: frozenset(names) for fault, names in found.items()}


@cache
def rows() -> dict[str, frozenset[str]]:
    """The tests that the document names for each fault."""
    return {
        fault: frozenset(
            f"{file} {name}"
            for file, names in _TEST.findall(named)
            for name in names.replace(",", " ").split()
        )
        for fault, _, _, named in _ROW.findall(DOCUMENT.read_text())
    }


@pytest.mark.parametrize("fault", WANTED)
def test_every_fault_has_a_test(fault: str) -> None:
    assert proofs().get(fault), f"no test is marked with fault({fault!r})"


@pytest.mark.parametrize("fault", WANTED)
def test_the_document_names_tests_that_prove_it(fault: str) -> None:
    """Each of them exists and is marked with this fault."""
    assert rows().get(fault), f"{DOCUMENT.name} names no test for {fault}"
    assert rows()[fault] <= proofs()[fault]


def test_no_mark_is_of_an_unknown_fault() -> None:
    assert proofs().keys() <= rows().keys()
