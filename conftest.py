"""Names that the examples in docstrings may use without an import."""

import numpy
import pytest


@pytest.fixture(autouse=True)
def _names_of_examples(doctest_namespace):
    doctest_namespace["np"] = numpy
