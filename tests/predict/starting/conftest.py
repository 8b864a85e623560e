"""A session on the bright scan, and what it starts from."""

import pytest

from tests.predict.starting.bright import Bright, bright_model, map_of, scan_of


@pytest.fixture
def bright():
    return Bright()


@pytest.fixture
def started(bright):
    """The automatic answer, taken up: "core" is kept, the box of "shell" is answered, "lost" is not found."""
    return bright_model(bright).open(scan_of()).start_from(map_of(), {"shell": "box"})
