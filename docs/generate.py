"""Generated parts of the manual: the options of every verb, columns, the Python API, artifact kinds, the map of files.

    python docs/generate.py            write them between their markers, <!-- begin NAME --> and <!-- end NAME -->
    python docs/generate.py --check    list the pages that are out of date and exit with 1 if there are any

Text outside the markers is written by hand. A verb without a page gets a new page without examples.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT))

import typer.main  # noqa: E402  # once the project can be imported

from curate.axes import EXPRESSION  # noqa: E402
from curate.dataset.reading import Faces  # noqa: E402
from curate.schema import BY_NAME, COLUMNS, SELECTION_COLUMNS, Column  # noqa: E402
from faceset import cli  # noqa: E402
from reports.artifacts.kinds import limits  # noqa: E402

KINDS = {"text": "TEXT", "str": "TEXT", "path": "PATH", "integer": "N", "int": "N", "float": "X"}
SKELETON = """# faceset {verb}

<!-- begin {verb} -->
<!-- end {verb} -->

## Examples
"""


def verbs() -> dict[str, Any]:
    """Name and command of every verb, in the order of the command line."""
    return dict(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]  # it is a group


def verb_text(name: str, command: Any) -> str:
    """Synopsis, description, arguments and options of one verb, taken from its --help."""
    context = command.context_class(command, info_name=name)
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    needed = [_row(p, context)[0].strip("`") for p in shown if p.required and p.param_type_name == "option"]
    arguments = [_row(p, context)[0].strip("`") for p in shown if p.param_type_name == "argument"]
    line = " ".join(["faceset", name, *arguments, *needed, "[OPTIONS]"])
    rows = [_row(p, context) for p in shown]
    return f"```text\n{line}\n```\n\n{command.help}\n\n" + _table(("argument, option", "default", ""), rows)


def _row(param: Any, context: Any) -> tuple[str, str, str]:
    """Flags, default and help of one argument or option."""
    flags, text = param.get_help_record(context)
    notes = re.search(r"\s*\[([^\[\]]*)\]$", text)
    found = notes[1] if notes else ""
    default = re.match(r"default: (.*)", found)
    known = bool(default) or found == "required"
    if param.param_type_name == "argument":
        flags = re.sub(r" <.*>$", "", flags).replace(param.name, param.name.upper())
    flags = re.sub(r" <(?:list\[)?([^<>\]]+)\]?>", lambda m: " " + KINDS.get(m[1].lower(), m[1]), flags)
    flags = flags.replace("|", "/")  # a bar would end the table's cell
    if not known:
        return f"`{flags}`", "", text
    return f"`{flags}`", f"`{default[1]}`" if default else found, text[: notes.start()]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def column_table(columns: Iterable[Column]) -> str:
    """Name, type, unit, range, direction and meaning of each column."""
    better = {None: "", True: "higher", False: "lower"}
    rows = [(f"`{c.name}`", _type(c), c.unit, _span(c), better[c.higher_is_better], c.doc) for c in columns]
    return _table(("column", "type", "unit", "range", "better", "what"), rows)


def _type(column: Column) -> str:
    found = re.fullmatch(r"(?:fixed_size_)?list<(?:element|item): (\w+)>(?:\[(\d+)\])?", str(column.type))
    if found is None:
        return str(column.type).replace("double", "float64").replace("float", "float32").replace("float3264", "float64")
    return f"{found[1].replace('float', 'float32')}[{found[2] or ''}]"


def _span(column: Column) -> str:
    low, high = ("" if v is None else f"{v:g}" for v in (column.low, column.high))
    return f"{low} to {high}" if low and high else f"from {low}" if low else f"up to {high}" if high else ""


def formats() -> dict[str, str]:
    """The tables of docs/formats.md."""
    shown = [c for c in COLUMNS if c.group != "scalar"]
    scalars = [c.name for c in COLUMNS if c.group == "scalar"]
    table = column_table(c for c in shown if c.level != "part")
    note = f"And, as 0..100 where more is better: {', '.join(f'`{n}`' for n in scalars)}."
    axes = f"The named axes of expression: {', '.join(f'`{a.name}`' for a in EXPRESSION)}."
    return {
        "faces": f"{table}\n\n{note}\n\n{axes}",
        "parts": column_table(c for c in shown if c.level == "part"),
        "selection": column_table(c for c in SELECTION_COLUMNS if c.name not in BY_NAME),
    }


def api() -> dict[str, str]:
    """Signatures and docstrings of `faceset.read` and the object that it returns."""
    entries = [("faceset.read(folder, columns=None)", sys.modules["curate.dataset.reading"].read)]
    entries += [("Faces", Faces), ("Faces.table", Faces.table), ("Faces.selected", Faces.selected)]
    signature = "size=128, transform=None, columns=None, selected=True"
    entries.append((f"Faces.dataset({signature})", Faces.dataset))
    return {"reference": "\n\n".join(f"### `{name}`\n\n{inspect.getdoc(thing)}" for name, thing in entries)}


def kinds() -> dict[str, str]:
    """Kinds of findings with their measures and thresholds, of docs/judging.md."""
    head = ("kind", "title", "measure", "unit", "low, medium, high", "frames", "what is measured")
    tables = {}
    for name, has_reference in (("full-reference", True), ("no-reference", False)):
        rows = []
        for kind, limit in limits(has_reference):
            severities = f"{limit.low:g}, {limit.medium:g}, {limit.high:g}"
            measured = (f"`{limit.measure}`", limit.unit, severities, str(limit.frames), limit.doc)
            rows.append((f"`{kind.name}`", kind.title, *measured))
        tables[name] = _table(head, rows)
    return tables


def layout() -> dict[str, str]:
    """Tables of docs/map.md: each module with the first sentence of its docstring, in the order of docs/layers.toml."""
    layers = tomllib.loads(_read(DOCS / "layers.toml"))
    sections = []
    for package in layers["packages"]:
        table = _table(("file", "contents"), _modules(package, layers[package]))
        sections.append(f"### `{package}/`\n\n{_summary(ROOT / package / '__init__.py')}\n\n{table}")
    return {"rooms": _order(layers), "map": "\n\n".join(sections)}


def _order(layers: dict[str, Any]) -> str:
    """Import order of the packages and of the rooms in each."""
    lines = [f"packages:  {' < '.join(layers['packages'])}"]
    for package in layers["packages"]:
        rooms = layers[package].get("rooms")
        lines += [f"{package + ':':11}{' < '.join(rooms)}"] if rooms else []
    return "```text\n" + "\n".join(lines) + "\n```"


def _modules(package: str, layer: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and summary of the modules of a package; a folder has a row with the summary of its `__init__`."""
    rooms = [room for siblings in layer.get("rooms", []) for room in siblings.split(" | ")]
    order = {name: n for n, room in enumerate(rooms) for name in layer.get(room, [room])}
    top = ROOT / package

    def place(path: Path) -> tuple[int, tuple[str, ...]]:
        parts = path.relative_to(top).with_suffix("").parts
        return order.get(parts[0], -1), tuple("" if part == "__init__" else part for part in parts)

    rows = []
    for path in sorted(set(top.rglob("*.py")) - {top / "__init__.py"}, key=place):
        name = str(path.relative_to(ROOT)).removesuffix("__init__.py")
        rows.append((f"**`{name}`**" if name.endswith("/") else f"`{name}`", _summary(path)))
    return rows


def _summary(path: Path) -> str:
    """First sentence of a module's docstring."""
    text = " ".join((ast.get_docstring(ast.parse(_read(path))) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def pages() -> dict[Path, dict[str, str]]:
    """Generated parts of every page, by marker."""
    found = {DOCS / "cli" / f"{name}.md": {name: verb_text(name, command)} for name, command in verbs().items()}
    rows = [(f"[{n}](cli/{n}.md)", c.help.splitlines()[0]) for n, c in verbs().items()]
    found[DOCS / "commands.md"] = {"verbs": _table(("command", ""), rows)}
    found |= {DOCS / "formats.md": formats(), DOCS / "api.md": api(), DOCS / "judging.md": kinds()}
    return found | {DOCS / "map.md": layout()}


def filled(text: str, parts: dict[str, str]) -> str:
    """The page with the text between the markers replaced; raises ValueError if a marker is missing."""
    for name, part in parts.items():
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        text, count = re.subn(pattern, lambda m, p=part: f"{m[1]}\n{p}\n\n{m[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"{count} markers <!-- begin {name} -->")
    return text


def stale() -> list[Path]:
    """The pages that are out of date."""
    return [p for p, parts in pages().items() if not p.is_file() or filled(_read(p), parts) != _read(p)]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def main() -> int:
    """Write the pages that are out of date, or list them."""
    old = stale()
    for path in old:
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    if "--check" in sys.argv:
        return int(bool(old))
    for path in old:
        before = _read(path) if path.is_file() else SKELETON.format(verb=path.stem)
        path.write_text(filled(before, pages()[path]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
