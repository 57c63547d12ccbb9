"""Imports go down the floors only; the package is light to import; nothing forbidden is used."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "gpunet"
FLOORS = [
    {"errors", "blas_kernels"},
    {"emulator"},
    {"backend"},
    {"ops"},
    {"tensor"},
    {"graph"},
    {"nn"},
    {"optim", "data", "io", "viz", "distributed", "amp", "profile", "models"},
    {"train"},
    {"estimators", "compat", "cli"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def floor_of(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return None if part in ("__init__", "__main__") else part


def imported_floors(path):
    """Return the floors that a file imports; `gpunet` itself, which imports most of them, is the top."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "gpunet":
                yield parts[1] if len(parts) > 1 and parts[1] in LEVEL else "gpunet"


@pytest.mark.parametrize("path", [p for p in FILES if floor_of(p)], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    own = floor_of(path)
    assert own in LEVEL, f"{own} is no floor"
    for other in imported_floors(path):
        if other == "gpunet":
            assert own == "cli", f"{own} imports the package itself"
        else:
            below = LEVEL[other] < LEVEL[own]
            assert below or other == own, f"{own} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_forbidden_is_used(path):
    text = path.read_text(encoding="utf-8")
    tree = list(ast.walk(ast.parse(text)))
    called = {node.func.id for node in tree if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"eval", "exec", "__import__"}
    assert not re.search(
        r"import (pickle|torch|jax|onnxruntime)\b|np\.random\.(seed|rand|randn|uniform|normal)\b", text
    )
    attributes = {
        node.attr for node in tree if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "np"
    }
    products = attributes & {"matmul", "dot", "tensordot", "einsum", "inner", "vdot"}
    at_sign = any(isinstance(getattr(node, "op", None), ast.MatMult) for node in tree)
    assert path.name == "blas.py" or not (products or at_sign), "matrix products go through backend/blas.py"


def test_import_is_light():
    code = (
        "import sys; import gpunet\n"
        "print(*{'cupy', 'matplotlib', 'torch', 'tqdm', 'safetensors', 'pytest'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_names_that_are_missing_say_so_and_floors_load_on_demand():
    code = "import gpunet; print(gpunet.data.MNIST.__name__, gpunet.models.MLP.__name__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "MNIST MLP\n"
    import gpunet

    with pytest.raises(AttributeError, match=r"gpunet\.randn is not in gpunet"):
        gpunet.randn(3)


def test_floors_that_load_on_demand_are_listed():
    code = "import gpunet; print({*gpunet.__all__, *gpunet._ON_DEMAND} - {*dir(gpunet)})"  # none of them imported here
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_type_checker_knows_what_is_there_and_what_is_not(tmp_path):
    api = pytest.importorskip("mypy.api", reason="mypy is not installed (extra dev)")
    script = tmp_path / "script.py"
    lines = ["import gpunet", "gpunet.randn", "gpunet.tensor(1.0).bessel", "reveal_type(gpunet.io.load_file)"]
    script.write_text("\n".join(lines))
    found, _, _ = api.run(["--follow-imports=silent", f"--cache-dir={tmp_path / 'cache'}", str(script)])
    for line, text in [(2, 'no attribute "randn"'), (3, 'no attribute "bessel"'), (4, "-> tuple[dict[str, numpy.")]:
        assert any(f"script.py:{line}: " in part and text in part for part in found.splitlines()), found


def test_op_files_stay_one_screen():
    assert len((PACKAGE / "ops" / "base.py").read_text().splitlines()) <= 250
    source = (PACKAGE / "ops" / "activation.py").read_text()
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    assert code_lines(classes["Activation"]) <= 60
    for name in ("ReLU", "Sigmoid", "Tanh", "ELU", "LeakyReLU"):
        assert code_lines(classes[name]) <= 20, name


def code_lines(node):
    return node.end_lineno - node.lineno - len(node.body[0].value.value.splitlines())


@pytest.mark.parametrize("module", ["gpunet", "gpunet.nn", "gpunet.nn.functional", "gpunet.nn.init", "gpunet.optim"])
def test_a_name_of_pytorch_that_is_missing_says_so(module):
    with pytest.raises(AttributeError) as error:
        getattr(importlib.import_module(module), "lstm_")  # noqa: B009
    assert str(error.value) == f"{module}.lstm_ is not in gpunet; what is there is listed in {module}.__all__"
