"""What tests, examples in docstrings and benchmarks share."""

import numpy
import pytest

pytest_plugins = ["tests.harness.backends"]


@pytest.fixture(autouse=True)
def _names_of_examples(doctest_namespace):
    """Let the examples use np without an import."""
    doctest_namespace["np"] = numpy
