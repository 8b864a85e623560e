"""The drawn patients and recipes that trainings share."""

from tests.training.conftest import *  # noqa: F403
