"""Fixtures of the plots' tests."""

from __future__ import annotations

import sys

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def axes():
    return Figure().subplots()


@pytest.fixture
def no_matplotlib(monkeypatch):
    """Make every import of matplotlib fail."""
    for name in [*sys.modules, "matplotlib", "matplotlib.figure"]:
        if name.partition(".")[0] == "matplotlib":
            monkeypatch.setitem(sys.modules, name, None)
