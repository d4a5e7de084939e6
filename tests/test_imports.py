"""Who may know whom: scripts -> commands -> teachers -> library, never back; and what `import mdflow` loads."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIBRARY = sorted((ROOT / "mdflow").rglob("*.py"))
COMMANDS = [path for path in LIBRARY if "commands" in path.parts or path.name == "__main__.py"]


@functools.cache
def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, with the names taken from it as if they were modules."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def who_imports(module: str, files: list[Path]) -> list[str]:
    """The files that import a module or something in it."""
    hits = [path for path in files if any(f"{name}.".startswith(f"{module}.") for name in imported(path))]
    return [str(path.relative_to(ROOT)) for path in hits]


def test_only_commands_know_the_teachers_and_only_scripts_the_commands():
    below = [path for path in LIBRARY if path not in COMMANDS]
    teachers = sorted((ROOT / "teachers").rglob("*.py"))
    assert len(below) > 40
    assert who_imports("teachers", below) == []
    assert who_imports("mdflow.commands", below + teachers) == []
    assert who_imports("scripts", LIBRARY + teachers) == []


def test_scripts_only_call_commands():
    for script in (ROOT / "scripts").glob("*.py"):
        if len(script.read_text().splitlines()) < 20:
            assert {name for name in imported(script) if name.startswith(("mdflow", "teachers"))} <= {
                "mdflow.commands",
                "mdflow.commands.main",
            }


def test_geometry_knows_nothing_and_losses_know_geometry():
    def known(name: str) -> set[str]:
        names = imported(ROOT / "mdflow" / f"{name}.py")
        return {each.split(".")[1] for each in names if each.startswith("mdflow.")}

    assert known("geometry") == known("errors") == set()
    assert known("correlation") == {"kernels", "errors"}
    assert known("system/ranks") == {"errors"}
    assert known("losses") == {"geometry", "kernels", "system", "config", "errors"}
    rooms = imported(ROOT / "mdflow" / "losses.py")
    assert {name for name in rooms if name.startswith("mdflow.system.")} == {"mdflow.system.ranks"}
    assert known("occlusion") == {"geometry"}
    assert known("config") == {"settings"}
    assert known("settings") == {"errors"}


def test_system_knows_nothing_of_flow():
    system = sorted((ROOT / "mdflow" / "system").glob("*.py"))
    names = {name for path in system for name in imported(path) if name.startswith("mdflow.")}
    assert {name.split(".")[1] for name in names} <= {"system", "errors"}


def test_kernels_know_only_kernels():
    kernels = sorted((ROOT / "mdflow" / "kernels").glob("*.py"))
    names = {name for path in kernels for name in imported(path) if name.startswith("mdflow.")}
    assert {name.split(".")[1] for name in names} == {"kernels", "errors"}


def test_networks_know_neither_losses_nor_training():
    networks = sorted((ROOT / "mdflow" / "networks").glob("*.py"))
    steps = ("losses", "unsupervised", "augment", "config", "training", "pretrain", "distill", "supervise", "data")
    for module in steps:
        assert who_imports(f"mdflow.{module}", networks) == []


def test_there_is_one_place_for_each_foreign_tool():
    library = LIBRARY + sorted((ROOT / "teachers").rglob("*.py"))
    assert who_imports("albumentations", library) == ["mdflow/data/colour.py"]
    assert who_imports("kornia", library) == ["mdflow/augment.py"]
    assert who_imports("gradio", library) == ["mdflow/demo_page/page.py"]
    assert [path.name for path in library if "grid_sample(" in path.read_text()] == ["geometry.py"]
    for never in ("torchvision", "ptlflow", "timm", "lightning"):
        assert who_imports(never, library) == []


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout


@pytest.mark.parametrize("code", ["import mdflow", "from mdflow import Predictor", "import mdflow.commands"])
def test_imports_take_less_than_three_seconds(code):
    """Of the processor: the clock also counts what else the machine does."""
    assert float(run_python(f"import time; {code}; print(time.process_time())")) < 3


def test_the_predictor_needs_nothing_of_training():
    code = "import sys; from mdflow import Predictor; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(run_python(code).split())
    assert "torch" in loaded
    assert not loaded & {"torchvision", "kornia", "albumentations", "tensorboard", "matplotlib"}
