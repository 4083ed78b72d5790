"""Imports run one way: curate <- reports <- train <- render <- faceset.py."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ["curate", "reports", "train", "render"]


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_from_those_to_its_left(package: str) -> None:
    allowed = set(ORDER[: ORDER.index(package) + 1])
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        ours = imported(ast.parse(path.read_text(encoding="utf-8"))) & {*ORDER, "faceset"}
        assert ours <= allowed, f"{path.relative_to(ROOT)} imports {sorted(ours - allowed)}"


def test_the_rule_sees_a_wrong_import() -> None:
    assert imported(ast.parse("def f():\n    from render.compositing.swap import x\n")) == {"render"}


def test_nothing_is_pickled_or_evaluated() -> None:
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for package in ORDER:
        for path in (ROOT / package).rglob("*.py"):
            assert not imported(ast.parse(path.read_text(encoding="utf-8"))) & forbidden, path
