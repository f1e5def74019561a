"""Who may import and touch what: the layout of the package, enforced."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent / "fritz_compress"
FILES = sorted(path for path in ROOT.rglob("*.py"))

# A file imports only from lower rows, never sideways between folders.
ROWS = {
    "checks": -1,
    "silence": -1,
    "compilation": 0,
    "ops": 0,
    "files": 0,
    "rule_table": 0,
    "workers": 0,
    "quantizers": 1,
    "losses": 1,
    "layers": 2,
    "graph": 3,
    "models": 3,
    "costs": 4,
    "surgery": 5,
    "distillation": 5,
    "quantization": 6,
    "callbacks": 7,
    "convert": 7,
    "interop": 7,
    "storage": 7,
    "analysis": 8,
    "training": 9,
    "cli": 10,
}
# It runs in a process of its own: importing its subject changes `tf.keras`.
TFMOT_FILE = "interop/tfmot_child.py"
CONVERTERS = {"ai_edge_litert", "coremltools"}


def part(path):
    """The folder or file directly inside the package."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names)


def identify(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=identify)
def test_imports_point_downwards(path):
    own = part(path)
    if own in ("__init__", "pretrained"):
        return
    for module in imported(path):
        names = module.split(".")
        if names[0] != "fritz_compress" or len(names) == 1:
            continue
        other = names[1]
        assert other == own or ROWS.get(other, -1) < ROWS[own], (
            f"{identify(path)} (row {ROWS[own]}) imports {module} "
            f"(row {ROWS.get(other)})"
        )


@pytest.mark.parametrize("path", FILES, ids=identify)
def test_converters_are_imported_by_convert_alone(path):
    if part(path) == "convert":
        return
    found = {module.split(".")[0] for module in imported(path)}
    assert not found & CONVERTERS
    assert "tensorflow.lite" not in " ".join(imported(path))


@pytest.mark.parametrize("path", FILES, ids=identify)
def test_only_the_command_line_prints(path):
    if part(path) == "cli":
        return
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "print"
    ]
    assert not calls, f"{identify(path)} prints in lines {calls}"


@pytest.mark.parametrize("path", FILES, ids=identify)
def test_both_backends_can_run_what_is_not_conversion(path):
    """Conversion and photos are TensorFlow's; the rest uses keras.ops."""
    tensorflows = ("compilation", "convert", "training", "cli", "storage")
    if part(path) in tensorflows:
        return
    if identify(path) == TFMOT_FILE:
        return
    assert "tensorflow" not in {m.split(".")[0] for m in imported(path)}


def test_one_file_imports_tensorflow_model_optimization():
    name = "tensorflow_model_optimization"
    found = {
        identify(path)
        for path in FILES
        if name in {module.split(".")[0] for module in imported(path)}
    }
    assert found == {TFMOT_FILE}
    assert not any(
        "tfmot_child" in module for path in FILES for module in imported(path)
    )


@pytest.mark.parametrize("path", FILES, ids=identify)
def test_the_inside_of_keras_is_left_alone(path):
    assert not any(module.startswith("keras.src") for module in imported(path))
    if part(path) != "graph":
        assert "_run_through_graph" not in path.read_text()


@pytest.mark.slow
def test_importing_the_package_is_free_of_side_effects():
    code = """
import os, sys
import fritz_compress as fc
assert "keras" not in sys.modules
import keras  # which itself loads what it finds installed
loaded, environment = set(sys.modules), dict(os.environ)
fc.models, fc.layers, fc.losses, fc.surgery, fc.callbacks, fc.convert
heavy = {"tf_keras", "coremltools", "matplotlib", "sklearn", "ai_edge_litert"}
assert not heavy & (set(sys.modules) - loaded), set(sys.modules) - loaded
assert dict(os.environ) == environment
"""
    subprocess.run([sys.executable, "-c", code], check=True)
