"""What the tests of the App share."""

import importlib.util

import pytest

from curate.app import mongod
from curate.errors import MissingError


@pytest.fixture(scope="session")
def database_server() -> None:
    """FiftyOne with a database server; skips the test where either is missing."""
    if importlib.util.find_spec("fiftyone") is None:
        pytest.skip("FiftyOne is not installed: pip install 'faceset[app]'")
    try:
        mongod.ensure()
    except MissingError as error:
        pytest.skip(f"no MongoDB server: {error}")
