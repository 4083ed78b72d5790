from __future__ import annotations

import json
import logging
import stat
import subprocess
import sys

import pytest

from curate.dataset.consent import FORGOTTEN
from curate.errors import WorkError
from render.provenance import registry
from render.provenance.watermark_code import identifier_text


def entry(**changed):
    made = {"title": "out.mp4", "subject": "Zoë", "basis": "release", "model_sha256": "cc" * 32, "out": "/v/out.mp4"}
    return registry.new_entry(**{**made, **changed})


def test_what_was_written_is_found():
    identifier = entry(source_sha256s=("aa" * 32,))
    found = registry.find(identifier)
    assert found is not None
    assert (found.title, found.subject, found.basis) == ("out.mp4", "Zoë", "release")
    assert found.identifier == identifier_text(identifier)
    assert found.source_sha256s == ("aa" * 32,)
    assert found.created.endswith("+00:00")
    assert registry.find(identifier ^ 1) is None


def test_nothing_is_known_before_the_first_entry(config_folder):
    assert registry.find(7) is None
    assert not config_folder.exists(), "looking makes no folder"


def test_the_file_is_the_users_alone():
    entry()
    assert stat.S_IMODE(registry.path().stat().st_mode) == 0o600


def test_an_identifier_is_never_drawn_twice(monkeypatch):
    drawn = iter([5, 5, 5, 6])
    monkeypatch.setattr(registry.secrets, "randbits", lambda bits: next(drawn))
    assert (entry(), entry()) == (5, 6)


def test_a_torn_line_costs_only_itself(caplog):
    first = entry()
    with registry.path().open("ab") as stream:
        stream.write(b'\xff\n[1, 2]\n{"identifier": "fs-1"}\n{"identifier": "fs-0000')
    second = entry(title="second.mp4")
    with caplog.at_level(logging.WARNING):
        assert registry.find(first).title == "out.mp4"
        assert registry.find(second).title == "second.mp4"
    assert "line 5 is damaged" in caplog.text


def test_processes_do_not_tear_each_others_lines(config_folder):
    script = (
        "from render.provenance import registry\n"
        "for i in range(20):\n"
        "    registry.new_entry(title='t' * 3000, subject='s', basis=None, model_sha256='', out='')\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    lines = registry.path().read_text().splitlines()
    assert len({json.loads(line)["identifier"] for line in lines}) == 40


def test_forgetting_leaves_only_hashes():
    mine, other = entry(), entry(subject="Bob", title="bob.mp4", out="/v/bob.mp4")
    with registry.path().open("ab") as stream:
        stream.write('{"subject": "Zoë"'.encode())
    assert registry.forget("Zoë") == 1
    text = registry.path().read_text()
    assert "Zo" not in text
    assert "out.mp4" not in text
    found = registry.find(mine)
    assert found.subject.startswith(FORGOTTEN)
    assert found.basis == "release"
    assert registry.find(other).subject == "Bob"
    assert stat.S_IMODE(registry.path().stat().st_mode) == 0o600
    assert registry.forget("Zoë") == 0


def test_a_folder_that_cannot_be_written_is_one_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("FACESET_CONFIG", str(tmp_path / "file" / "config"))
    with pytest.raises(WorkError, match="FACESET_CONFIG"):
        entry()


def test_a_withdrawn_entry_is_gone_and_can_be_entered_again() -> None:
    kept, failed = entry(), entry(title="failed.mp4")
    assert registry.withdraw(failed) == 1 and registry.find(failed) is None and registry.find(kept) is not None
    assert registry.withdraw(failed) == 0
    assert entry(title="resumed.mp4", identifier=failed) == failed
    assert registry.find(failed).title == "resumed.mp4"
    assert entry(title="twice.mp4", identifier=failed) == failed
    assert registry.find(failed).title == "resumed.mp4", "an entry that is there stays"
