"""Who may import and touch what: the layout of the package, enforced."""

import ast
import functools
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
    "suggestions": -1,
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
    "binarization": 6,
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


@functools.cache
def parsed(path):
    return ast.parse(path.read_text())


@functools.cache
def imported(path):
    """Every module that a file imports, wherever in the file."""
    modules = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules.append(node.module)
            modules += [f"{node.module}.{a.name}" for a in node.names]
    return modules


def packages(path):
    return {module.split(".")[0] for module in imported(path)}


def identify(path):
    return str(path.relative_to(ROOT))


def test_imports_point_downwards():
    wrong = []
    for path in FILES:
        own = part(path)
        if own in ("__init__", "pretrained"):
            continue
        for module in imported(path):
            package, *names = module.split(".")
            if package != "fritz_compress" or not names:
                continue
            row = ROWS.get(names[0], -1)
            if names[0] != own and row >= ROWS[own]:
                wrong.append(
                    f"{identify(path)} (row {ROWS[own]}) imports {module} "
                    f"(row {row})"
                )
    assert not wrong


def test_converters_are_imported_by_convert_alone():
    assert not [
        identify(path)
        for path in FILES
        if part(path) != "convert"
        and (
            packages(path) & CONVERTERS
            or "tensorflow.lite" in " ".join(imported(path))
        )
    ]


def test_only_the_command_line_prints():
    assert not [
        f"{identify(path)}, line {node.lineno}"
        for path in FILES
        if part(path) != "cli"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "print"
    ]


def test_both_backends_can_run_what_is_not_conversion():
    """Conversion and photos are TensorFlow's; the rest uses keras.ops."""
    tensorflows = ("compilation", "convert", "training", "cli", "storage")
    assert not [
        identify(path)
        for path in FILES
        if part(path) not in tensorflows
        and identify(path) != TFMOT_FILE
        and "tensorflow" in packages(path)
    ]


def test_one_file_imports_tensorflow_model_optimization():
    name = "tensorflow_model_optimization"
    found = {identify(path) for path in FILES if name in packages(path)}
    assert found == {TFMOT_FILE}
    assert not any(
        "tfmot_child" in module for path in FILES for module in imported(path)
    )


def test_the_inside_of_keras_is_left_alone():
    assert not [
        identify(path)
        for path in FILES
        if any(module.startswith("keras.src") for module in imported(path))
        or (part(path) != "graph" and "_run_through_graph" in path.read_text())
    ]


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
