"""The command line: its verbs, and what becomes of errors (exit 0 done, 1 the work failed, 2 the call was wrong)."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
import typer.main

from curate.errors import FacesetError, UsageError
from curate.words import is_text
from faceset import console
from faceset.verbs import (
    app as app_verb,
)
from faceset.verbs import (
    curate,
    cut,
    demo,
    doctor,
    evaluate,
    export,
    forecast,
    forget,
    import_,
    init,
    inspect,
    merge,
    people,
    pretrain,
    prune,
    remove,
    render,
    report,
    run,
    select,
    train,
    verify,
)

VERBS: dict[str, Callable[..., None]] = {
    "init": init.init,
    "run": run.run,
    "curate": curate.curate,
    "select": select.select,
    "prune": prune.prune,
    "remove": remove.remove,
    "merge": merge.merge,
    "people": people.people,
    "report": report.report,
    "cut": cut.cut,
    "app": app_verb.app,
    "train": train.train,
    "pretrain": pretrain.pretrain,
    "forecast": forecast.forecast,
    "render": render.render,
    "inspect": inspect.inspect,
    "evaluate": evaluate.evaluate,
    "verify": verify.verify,
    "import": import_.import_,
    "export": export.export,
    "forget": forget.forget,
    "doctor": doctor.doctor,
    "demo": demo.demo,
}
INTERRUPTED = 130
CTRL_C = "interrupted; finished work is kept"
MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENOMEM}
MACHINE |= {errno.ENAMETOOLONG, errno.EFBIG, errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN}
"""Faults of the machine and its disks, near or far: one line; any other OSError is a bug and keeps its traceback."""

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it cannot read becomes a line of ours; workers inherit this

app = typer.Typer(
    help="Curate the footage worth training a face-swap model on, train, render, and report what is wrong.",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _every_verb(
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Write logs and progress as JSON lines (or set FACESET_LOG=json).")
    ] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if log_json:
        os.environ["FACESET_LOG"] = "json"
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"faceset {installed('faceset')}")
        raise typer.Exit


for _name, _verb in VERBS.items():
    app.command(_name)(_verb)


WRITTEN = ("--out", "--subject", "--cache", "--frames", "--masks", "--tracking")
"""Options whose values are written into manifests and records, in UTF-8."""


def check_arguments(words: Sequence[str]) -> None:
    """Raise UsageError for an empty argument, which a path would take for the current folder, and for a value of
    WRITTEN that is not UTF-8."""
    for before, word in zip(("", *words), words, strict=False):
        flag, equals, value = word.partition("=") if word.startswith("--") else (before, "", word)
        if not value and (equals or not word):
            name = flag if flag.startswith("-") else "an argument"
            raise UsageError(f"{name}: is empty; give a value, or leave it out")
        if flag in WRITTEN and not is_text(value):
            raise UsageError(f"{flag} {value}: is not UTF-8 text; choose another name")


def main() -> None:
    """Run the command line; user errors are one line on stderr, and with --json {error, exit} on stdout."""
    sys.excepthook = console.bug
    try:
        check_arguments(sys.argv[1:])
        command = typer.main.get_command(app)  # app(...) would set its own excepthook
        code = command(sys.argv[1:] or ["--help"], prog_name="faceset", standalone_mode=False)
    except FacesetError as error:
        code = console.fail(str(error), error.exit_code)
    except typer.TyperException as error:
        code = console.fail(console.wrong_call(error), 2)
    except OSError as error:
        if error.errno not in MACHINE:
            raise
        code = console.fail(f"{console.place_of(error)}: {error.strerror}; finished work is kept", 1)
    except MemoryError:
        sys.stderr.write("faceset: out of memory; finished work is kept; try fewer --workers\n")
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = console.fail(CTRL_C, INTERRUPTED)
    else:
        if code == INTERRUPTED:  # typer has turned Ctrl-C into this code
            console.fail(CTRL_C, INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
