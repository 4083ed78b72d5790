"""Imports run one way, in the packages and between their rooms: docs/layers.toml is the table."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = tomllib.loads((ROOT / "docs" / "layers.toml").read_text(encoding="utf-8"))
ORDER = LAYERS["packages"]


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of every import, also inside functions, under TYPE_CHECKING and by import_module("name")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            yield from ((node.lineno, str(a.value)) for a in node.args[:1] if isinstance(a, ast.Constant))


def levels(layers: dict[str, Any], package: str) -> dict[str, tuple[int, str]]:
    """Level and room of each folder and top-level module of a package; empty for a flat one."""
    found: dict[str, tuple[int, str]] = {}
    for level, siblings in enumerate(layers[package].get("rooms", [])):
        for room in siblings.split(" | "):
            found |= dict.fromkeys(layers[package].get(room, [room]), (level, room))
    return found


def misplaced(root: Path, layers: dict[str, Any]) -> list[str]:
    """Files and folders of the packages that belong to no room."""
    wrong = []
    for package in layers["packages"]:
        table, flat = levels(layers, package), "rooms" not in layers[package]
        known = {"__init__", *table, *layers[package].get("data", [])}
        for path in sorted((root / package).iterdir()):
            name = path.stem if path.suffix == ".py" else path.name
            if name != "__pycache__" and not (name in known or (flat and path.suffix in ("", ".py"))):
                wrong.append(f"{package}/{path.name} belongs to no room")
    return wrong


def wrong_imports(root: Path, layers: dict[str, Any]) -> list[str]:
    """Imports from a package to the right, from a room above, from a sibling, and relative ones."""
    wrong = []
    for package in layers["packages"]:
        for path in sorted((root / package).rglob("*.py")):
            place = path.relative_to(root)
            for line, name in imported(ast.parse(path.read_text(encoding="utf-8"))):
                reason = objection(layers, place.with_suffix("").parts, name)
                if reason:
                    wrong.append(f"{place}:{line} imports {name}: {reason}")
    return wrong


def objection(layers: dict[str, Any], place: tuple[str, ...], name: str) -> str:
    """Why the module at `place` may not import `name`; empty if it may."""
    order, parts = layers["packages"], name.split(".")
    if name.startswith("."):
        return "the import is relative"
    if parts[0] not in order:
        return ""
    if order.index(parts[0]) > order.index(place[0]):
        return f"{parts[0]} is to the right of {place[0]}"
    table = levels(layers, place[0])
    if parts[0] != place[0] or len(parts) < 2 or place[1] not in table or parts[1] not in table:
        return ""
    (own, room), (other, wanted) = table[place[1]], table[parts[1]]
    if room == wanted or own > other:
        return ""
    return f"{wanted} is {'a sibling of' if own == other else 'above'} {room}"


def not_in_the_map(root: Path, layers: dict[str, Any], text: str) -> list[str]:
    """Modules that a map of the files does not name; an `__init__` is named by its folder."""
    found = [p for package in layers["packages"] for p in sorted((root / package).rglob("*.py"))]
    names = [str(p.relative_to(root)).removesuffix("__init__.py") for p in found]
    return [name for name in names if f"`{name}`" not in text]


def circles(root: Path, layers: dict[str, Any]) -> list[str]:
    """Modules that import themselves through others."""
    files = {p: p.relative_to(root).with_suffix("").parts for k in layers["packages"] for p in (root / k).rglob("*.py")}
    names = {".".join(parts).removesuffix(".__init__") for parts in files.values()}
    graph = {}
    for path, parts in files.items():
        wanted = {n for _, n in imported(ast.parse(path.read_text(encoding="utf-8")))}
        wanted = {n if n in names else n.rpartition(".")[0] for n in wanted}
        graph[".".join(parts).removesuffix(".__init__")] = wanted & names
    return sorted(name for name in graph if name in reached(graph, name))


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """What `start` imports, directly or not."""
    found: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_from_those_to_its_left(package: str) -> None:
    assert list((ROOT / package).rglob("*.py"))
    assert [w for w in wrong_imports(ROOT, LAYERS) if w.startswith(f"{package}/")] == []


def test_every_file_belongs_to_a_room() -> None:
    assert misplaced(ROOT, LAYERS) == []


def test_every_module_is_in_the_map() -> None:
    text = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    assert not_in_the_map(ROOT, LAYERS, text) == [], "python docs/generate.py writes docs/map.md"


def test_no_module_imports_itself_through_others() -> None:
    assert circles(ROOT, LAYERS) == []


def test_the_rule_sees_a_wrong_import() -> None:
    found = imported(ast.parse("def f():\n    from render.compositing.swap import x\n"))
    assert list(found) == [(2, "render.compositing.swap.x")]


# ---- the checker itself, on trees that are made up

TREE = {
    "low/__init__.py": "",
    "low/errors.py": "",
    "low/types.py": "from low import errors",
    "low/disk/files.py": "from low.errors import E",
    "low/left/__init__.py": "",
    "low/left/a.py": "import low.disk.files\nimport numpy",
    "low/right/b.py": "from low.disk import files",
    "low/data/picture.png": "",
    "high/main.py": "from low.left.a import x\nimport high.other",
    "high/other.py": "",
}
TABLE: dict[str, Any] = {
    "packages": ["low", "high"],
    "low": {"rooms": ["ground", "disk", "left | right"], "ground": ["errors", "types"], "data": ["data"]},
    "high": {},
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        put(tmp_path, name, text)
    return tmp_path


def put(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def test_a_right_tree_has_no_violation(tree: Path) -> None:
    assert misplaced(tree, TABLE) == wrong_imports(tree, TABLE) == circles(tree, TABLE) == []


@pytest.mark.parametrize("name", ["low/stray.py", "low/stray/module.py", "low/notes.txt", "high/notes.txt"])
def test_a_file_in_no_room_is_seen(tree: Path, name: str) -> None:
    put(tree, name, "")
    assert misplaced(tree, TABLE) == [f"{'/'.join(name.split('/')[:2])} belongs to no room"]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("low/errors.py", "import high.main", "high is to the right of low"),
        ("low/left/a.py", "def f():\n    from high import main", "high is to the right of low"),
        ("low/types.py", "from low.disk.files import x", "disk is above ground"),
        ("low/disk/files.py", "from low import left", "left is above disk"),
        ("low/disk/files.py", "def f():\n    import low.left.a", "left is above disk"),
        ("low/disk/files.py", "if TYPE_CHECKING:\n    from low.left.a import A", "left is above disk"),
        ("low/disk/files.py", "importlib.import_module('low.left.a')", "left is above disk"),
        ("low/left/a.py", "from low.right.b import x", "right is a sibling of left"),
        ("low/left/inner/c.py", "import low.right.b", "right is a sibling of left"),
        ("low/left/a.py", "from .other import x", "the import is relative"),
    ],
)
def test_a_wrong_import_is_seen(tree: Path, name: str, text: str, reason: str) -> None:
    put(tree, name, text)
    (found,) = wrong_imports(tree, TABLE)
    assert found.startswith(f"{name}:{text.count(chr(10)) + 1} imports ") and found.endswith(reason)


def test_a_circle_is_seen(tree: Path) -> None:
    put(tree, "high/other.py", "def f():\n    from high.main import x")
    assert circles(tree, TABLE) == ["high.main", "high.other"]


def test_a_module_that_the_map_lacks_is_seen(tree: Path) -> None:
    names = [n.removesuffix("__init__.py") for n in TREE if n.endswith(".py")]
    text = "\n".join(f"| `{name}` | something |" for name in names)
    assert not_in_the_map(tree, TABLE, text) == []
    assert not_in_the_map(tree, TABLE, text.replace("`low/right/b.py`", "`low/right/c.py`")) == ["low/right/b.py"]
    assert not_in_the_map(tree, TABLE, text.replace("`low/left/`", "")) == ["low/left/"]


def test_nothing_is_pickled_or_evaluated() -> None:
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for package in ORDER:
        for path in (ROOT / package).rglob("*.py"):
            names = imported(ast.parse(path.read_text(encoding="utf-8")))
            assert not {name.split(".")[0] for _, name in names} & forbidden, path
