"""Failures of the contract show what was compared, as those of any test file do."""

import pytest

pytest.register_assert_rewrite("tests.systems.contract")
