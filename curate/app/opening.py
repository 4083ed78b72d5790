"""Opening the App's page: in a browser of this machine, or by a tunnel from another."""

from __future__ import annotations

import logging
import os
import socket
import sys
import webbrowser

log = logging.getLogger(__name__)


def show(page: str, address: str, port: int, browser: bool) -> None:
    """Open the page in a browser where there is a screen, else say how to reach it from another machine."""
    if browser and _has_screen():
        webbrowser.open(page, new=2)
    else:
        log.warning("From another machine: %s, then open this address there", tunnel(address, port))


def tunnel(address: str, port: int) -> str:
    """The command that makes the App of this machine reachable on another one."""
    return f"run ssh -N -L {port}:{address}:{port} USER@{socket.gethostname()}"


def _has_screen() -> bool:
    """Whether this process can open a browser on a screen."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True
