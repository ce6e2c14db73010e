"""The wheel, not the checkout: it installs with no extra, imports, and holds what it should."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # hatchling is locked with the development tools, so building asks no registry.
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"reunite", wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}
    assert {"reunite/py.typed", "reunite/server/client.js"} <= set(names)
    assert any(name.startswith("reunite/server/client/") for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    packaged = {name for name in names if name.startswith("reunite/") and name.endswith(".py")}
    written = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert packaged == written


def test_wheel_imports_in_a_bare_environment(wheel: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    uv = Path(sys.executable).with_name("uv")
    made = run(uv, "venv", "--quiet", "--python", sys.executable, bare, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    python = bare / "bin" / "python"

    install = (uv, "pip", "install", "--quiet", "--python", python, wheel)
    installed = run(*install, "--offline", cwd=tmp_path)  # `make setup` has filled uv's cache
    if installed.returncode != 0:
        installed = run(*install, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr

    listed = run(uv, "pip", "list", "--quiet", "--format=freeze", "--python", python, cwd=tmp_path)
    names = sorted(line.split("==")[0].split(" ")[0] for line in listed.stdout.splitlines())
    assert names == ["msgspec", "reunite"]

    program = "from reunite import *; import reunite; print(reunite.__file__)"
    imported = run(python, "-W", "error", "-c", program, cwd=tmp_path)
    assert imported.returncode == 0, imported.stderr
    assert Path(imported.stdout.strip()).is_relative_to(bare)
