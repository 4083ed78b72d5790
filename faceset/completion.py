"""Shell completion of values: those that begin with what was typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def completer(values: Iterable[object]) -> Callable[[str], list[str]]:
    """A function for typer's `autocompletion`."""
    texts = [str(value) for value in values]

    def complete(incomplete: str) -> list[str]:
        return [text for text in texts if text.startswith(incomplete)]

    return complete
