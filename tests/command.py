"""The command line, called in this process."""

from __future__ import annotations

import sys
from unittest import mock

import pytest

from faceset import cli


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of `faceset ARGUMENTS`."""
    with mock.patch.object(sys, "argv", ["faceset", *map(str, arguments)]), pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err
