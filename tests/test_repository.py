"""What holds for the repository as a whole: packaging, the base install, the command's table, the layout."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from humar_edge.cli.main import VERBS

try:
    import tomllib
except ImportError:  # Python 3.10, where pytest brings its predecessor
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "humar_edge": "humar_edge",
    "export": "humar_edge/export",
    "calibration": "humar_edge/calibration",
    "runtime": "humar_edge/runtime",
    "demos": "humar_edge/demos",
}
"""Folder of the repository -> folder of the installed package."""

NOT_INSTALLED = ("runtime/csrc/",)
"""Built by CMake from the repository."""

BASE = ("humar_edge", "humar_edge.cli", "humar_edge.data.synth", "humar_edge.runtime", "humar_edge.demos")
"""Packages of the base install; of `humar_edge` itself, the modules but not the other packages."""

EXTRAS = (
    "torch torchvision timm transformers huggingface_hub safetensors accelerate tensorboard scipy matplotlib PIL "
    "faster_coco_eval onnx onnxsim onnxscript onnxruntime tensorrt tensorrt_rtx pycuda cuda aiohttp ray"
).split()
"""What the base install does not have."""

ADAPTERS = ("humar_edge.runtime.tensorrt.", "humar_edge.runtime.device.", "humar_edge.demos.web.")
"""Packages whose modules are imported only where TensorRT, CUDA or aiohttp are."""

HEAVY = ("numpy", "cv2", "openvino", "tokenizers")

ADAPTED = ("tensorrt", "cuda", "pycuda", "aiohttp")
"""What the adapters may import besides."""


def tracked() -> list[str]:
    """The repository's files that exist, as git knows them."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def installed_name(name: str) -> str | None:
    """Where a file of the repository is in the wheel; None for those that are not."""
    folder, _, rest = name.partition("/")
    return f"{FOLDERS[folder]}/{rest}" if folder in FOLDERS and not name.startswith(NOT_INSTALLED) else None


def configuration() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.slow
def test_the_wheel_holds_every_file_and_nothing_else(tmp_path):
    source, built = tmp_path / "source", tmp_path / "built"
    for name in tracked():
        if name.partition("/")[0] in FOLDERS or "/" not in name:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    expected = {installed_name(name) for name in tracked()} - {None}
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    done = subprocess.run([*build, str(built), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = built.glob("humar_edge-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert expected - found == set(), "not in the wheel; a new suffix belongs into package-data of pyproject.toml"
    assert found - expected == set()


def test_every_folder_with_modules_is_a_package():
    folders = {Path(name).parent for name in tracked() if name.endswith(".py") and installed_name(name)}
    assert [str(folder) for folder in sorted(folders) if not (ROOT / folder / "__init__.py").exists()] == []


def base_modules() -> list[str]:
    """Dotted names of the modules of the base install."""
    names = []
    for name in tracked():
        inside = installed_name(name)
        if inside and inside.endswith(".py"):
            dotted = inside.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            package = dotted if inside.endswith("/__init__.py") else dotted.rpartition(".")[0]
            if package == "humar_edge" or any(f"{package}.".startswith(f"{base}.") for base in BASE[1:]):
                names.append(dotted)
    return [name for name in names if not name.startswith(ADAPTERS)]


def test_the_base_install_needs_no_extra():
    names = base_modules()
    assert "humar_edge.runtime.predictor" in names
    code = f"""
import sys
for name in {EXTRAS!r}:
    sys.modules[name] = None  # importing it fails
from importlib import import_module
for name in {names!r}:
    import_module(name)
"""
    done = python(code)
    assert done.returncode == 0, done.stderr


def imported_at_once(statements: list[ast.stmt]) -> Iterator[str]:
    """Top-level packages that a module imports when it is imported itself."""
    for statement in statements:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            continue
        if isinstance(statement, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            yield str(statement.module).partition(".")[0]
        elif not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for part in ("body", "orelse", "finalbody"):
                yield from imported_at_once(getattr(statement, part, []))


def test_the_base_install_imports_what_it_depends_on():
    """Not what happens to be there because another package of a development set-up wants it."""
    declared = {re.split(r"[<>=~!;\[ ]", text)[0] for text in configuration()["project"]["dependencies"]}
    known = {*sys.stdlib_module_names, *FOLDERS, "cv2" if "opencv-python" in declared else "", *declared}
    wrong = []
    for name in tracked():
        package = (installed_name(name) or "").removesuffix(".py").rpartition("/")[0].replace("/", ".")
        if not name.endswith(".py") or not (
            package == BASE[0] or f"{package}.".startswith(tuple(f"{b}." for b in BASE[1:]))
        ):
            continue
        adapted = ADAPTED if f"{package}.".startswith(ADAPTERS) else ()
        found = imported_at_once(ast.parse((ROOT / name).read_text("utf-8")).body)
        wrong += [f"{name}: {other}" for other in found if other not in known and other not in adapted]
    assert wrong == []


def test_help_loads_nothing_heavy():
    code = f"""
import sys
from click.testing import CliRunner
from humar_edge.cli.main import group
result = CliRunner().invoke(group, ["--help"])
assert result.exit_code == 0 and "calibrate" in result.output, result.output
loaded = [name for name in {(*EXTRAS, *HEAVY)!r} if name in sys.modules]
assert not loaded, loaded
"""
    done = python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_command(verb):
    command = import_module(f"humar_edge.cli.{VERBS[verb][0]}").command
    assert command.help


def test_errors_name_extras_that_exist():
    extras = configuration()["project"]["optional-dependencies"]
    pattern = re.compile(r"MissingExtraError\(.+?, \"(\w+)\"\)")
    named = {
        extra
        for name in tracked()
        if name.endswith(".py") and installed_name(name)
        for extra in pattern.findall((ROOT / name).read_text("utf-8"))
    }
    assert "train" in named
    assert named <= extras.keys()


def test_the_version_is_the_same_everywhere():
    from humar_edge import __version__

    assert configuration()["project"]["version"] == __version__
    assert f"project(humar_edge_native VERSION {__version__} " in (ROOT / "CMakeLists.txt").read_text("utf-8")


def test_tests_mirror_the_tree():
    own = ("tests/support/", "tests/fixtures/", "tests/gpu/")
    folders = {
        str(Path(name).parent.relative_to("tests"))
        for name in tracked()
        if re.match(r"tests/(.+/)?test_[^/]+\.py$", name) and not name.startswith(own)
    }
    assert [folder for folder in sorted(folders) if not (ROOT / folder).is_dir()] == []


def test_no_file_names_a_place_on_somebodys_machine_or_a_package_index():
    hosts = "|".join(re.escape(host) for host in ("py" + "pi.org", "python" + "hosted.org", "npm" + "js.org"))
    places = re.compile(rf"(?<![\w.~$}}/-])/(?:home|root|Users|work|mnt)/\w|{hosts}")
    guilty = []
    for name in tracked():
        try:
            text = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue
        guilty += [f"{name}: {line.strip()}" for line in text.splitlines() if places.search(line)]
    assert guilty == []


def test_continuous_integration_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert re.search(r"^make test$", script.read_text("utf-8"), re.MULTILINE)
