"""The manual: generated parts are current, commands parse, Python runs, files exist, pages load nothing foreign."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import pytest
import typer.main

from faceset import cli

ROOT = Path(cli.__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])
COMMAND = typer.main.get_command(cli.app)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def calls(text: str) -> list[list[str]]:
    """The faceset commands of a block of shell: words after `faceset`, up to a pipe or a comment."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        match = re.match(r"(?:.*-m )?faceset (.*)", line.strip()) if not line.lstrip().startswith("#") else None
        words = shlex.split(re.split(r" \| | 2> ", match[1])[0], comments=True) if match else []
        if words:
            found.append(words)
    return found


EXAMPLES = [
    (page.relative_to(ROOT), call)
    for page in PAGES
    for language in ("sh", "")
    for block in blocks(page, language)
    for call in calls(block)
]


def test_generated_parts_are_current(generate: ModuleType) -> None:
    old = [str(page.relative_to(ROOT)) for page in generate.stale()]
    assert not old, f"python docs/generate.py writes {', '.join(old)}"


def test_a_changed_option_is_seen(generate: ModuleType) -> None:
    page = (DOCS / "cli" / "people.md").read_text(encoding="utf-8")
    parts = {"people": generate.verb_text("people", COMMAND.commands["people"])}  # type: ignore[attr-defined]
    assert generate.filled(page, parts) == page
    assert generate.filled(page.replace("--person", "--nobody"), parts) != page.replace("--person", "--nobody")
    with pytest.raises(ValueError, match="0 markers"):
        generate.filled("# nothing", parts)


def test_every_verb_has_examples() -> None:
    for verb in COMMAND.commands:  # type: ignore[attr-defined]  # it is a group
        page = Path("docs") / "cli" / f"{verb}.md"
        own = [call for place, call in EXAMPLES if place == page and call[0] == verb]
        assert own, f"{page} has no example of faceset {verb}"
        assert f"cli/{verb}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), f"mkdocs.yml: nav lacks {verb}"


@pytest.mark.parametrize(("page", "call"), EXAMPLES, ids=lambda x: " ".join(x[:2]) if isinstance(x, list) else str(x))
def test_commands_on_the_pages_parse(page: Path, call: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.dataset.mirror.mirrored", nullcontext)  # nothing is asked of a URL
    if "VERB" in call or "DIR" in call or "..." in " ".join(call) or "[OPTIONS]" in call:
        return
    if call[0].startswith("-"):
        flag, *call = call if call[0] == "--log-json" else [call[0]]
        known = {name for param in COMMAND.params for name in param.opts} | {
            "--install-completion",
            "--show-completion",
        }
        assert flag in known, f"{page}: faceset {flag}"
        if not call:
            return
    assert call[0] in COMMAND.commands, f"{page}: faceset {call[0]}"  # type: ignore[attr-defined]
    COMMAND.commands[call[0]].make_context(call[0], call[1:])  # type: ignore[attr-defined]  # raises where it is wrong


def test_the_parser_sees_a_wrong_option() -> None:
    assert calls('# faceset no\nfaceset people her --nobody 3 | jq .x  # text\ntorchrun -m faceset train "a b"') == [
        ["people", "her", "--nobody", "3"],
        ["train", "a b"],
    ]
    with pytest.raises(Exception, match="No such option"):
        COMMAND.commands["people"].make_context("people", ["her", "--nobody", "3"])  # type: ignore[attr-defined]


def test_python_of_the_api_page_runs(
    head_facesets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, side in (("her", "source"), ("him", "target")):
        shutil.copytree(head_facesets[side], tmp_path / name)
    monkeypatch.chdir(tmp_path)
    page = [b for b in blocks(DOCS / "api.md", "python") if "fiftyone" not in b]  # that one: test_dataset_type.py
    assert len(page) >= 8
    names: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(page):
        exec(compile(block, f"api.md, block {number}", "exec"), names)
    told = capsys.readouterr().out
    assert "24 chosen" in told and "torch.Size([8, 3, 128, 128])" in told and "is not a faceset" in told
    assert len(names["choice"].rows) == 12  # type: ignore[attr-defined]


def test_links_lead_somewhere() -> None:
    for page in DOCS.rglob("*.md"):
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"


def named_files(text: str) -> set[str]:
    """Paths of files in the checkout that a page names in backticks; NAME stands for any name."""
    tops = "curate|reports|train|render|faceset|tests|benchmarks|docs"
    return {p for p in re.findall(rf"`((?:{tops})/[\w./-]+\.(?:py|toml|md|html|css|js))`", text) if "NAME" not in p}


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md", "SECURITY.md", "CHANGELOG.md", "docs"])
def test_named_files_exist(page: str) -> None:
    for path in sorted((ROOT / page).rglob("*.md")) if page == "docs" else [ROOT / page]:
        missing = [name for name in named_files(path.read_text(encoding="utf-8")) if not (ROOT / name).is_file()]
        assert missing == [], f"{path.name} names files that do not exist"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_the_contributing_page_has_short_recipes_with_files_and_a_test() -> None:
    assert named_files("`docs/a.md`, `faceset/verbs/NAME.py`, `train --steps`") == {"docs/a.md"}
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## How to add")[1]
    recipes = text.split("\n### ")[1:]
    assert len(recipes) == 8
    for recipe in recipes:
        lines = [line for line in recipe.splitlines()[1:] if line.strip()]
        assert len(lines) <= 8, recipe
        assert [p for p in named_files(recipe) if p.startswith("tests/")], recipe


def test_the_site_is_built_and_asks_nobody(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("MkDocs is not installed: pip install 'faceset[docs]'")
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(site)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, env=os.environ)
    assert done.returncode == 0, done.stderr[-2000:]
    written = {p.relative_to(site).with_suffix("").as_posix() for p in site.rglob("*.html")} - {"404", "search"}
    assert written == {p.relative_to(DOCS).with_suffix("").as_posix() for p in DOCS.rglob("*.md")}
    for page in site.rglob("*.html"):
        asked = outside(page.read_text(encoding="utf-8"))
        assert not asked, f"{page.name} loads {asked}"
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""", sheet.read_text(encoding="utf-8")), sheet
    assert not list(site.rglob("*.py"))


def outside(page: str) -> list[str]:
    """Addresses elsewhere that a browser would load; links that people may click are none."""
    tags = re.findall(r"<(?!a\b)\w+[^>]*>", page)
    return [m for tag in tags for m in re.findall(r"""(?:src|href|data)\s*=\s*["']?((?:https?:)?//[^"'\s>]+)""", tag)]


def test_what_a_browser_would_load_is_seen() -> None:
    assert outside('<a href="https://x.y">x</a><img src="a.png">') == []
    assert outside('<script src="https://cdn.x/y.js"></script><link href=//f.z/a.css>') == [
        "https://cdn.x/y.js",
        "//f.z/a.css",
    ]
