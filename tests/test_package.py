"""The package as users install it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.served import ROOT, environment
from watcher.cli.arguments import __version__

PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(ROOT)]
    subprocess.run([*PIP, *build], check=True, capture_output=True)
    (built,) = target.iterdir()
    return built


def test_the_wheel_holds_every_module_the_page_and_the_type_marker(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "watcher").rglob("*.py")}
    page = {
        f"watcher/{path.relative_to(ROOT)}"
        for path in (ROOT / "static").rglob("*")
        if path.is_file()
    }
    assert "watcher/static/index.html" in page
    assert modules | page | {"watcher/py.typed"} <= held


def test_the_wheel_holds_nothing_that_is_not_for_users(wheel: Path) -> None:
    held = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in held}
    assert tops == {"watcher", f"sqlite_watcher-{__version__}.dist-info"}


def test_the_installed_command_tells_its_version(wheel: Path, tmp_path: Path) -> None:
    install = ["install", "--no-deps", "--no-index", "--target", str(tmp_path), str(wheel)]
    subprocess.run([*PIP, *install], check=True, capture_output=True)
    done = subprocess.run(
        [tmp_path / "bin" / "sqlite-watcher", "--version"],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"sqlite-watcher {__version__}\n"
