"""The drawn patients that trainings share."""

from tests.training.conftest import *  # noqa: F403
