"""Benchmarks that tests start in processes of their own measure, even where the tests themselves run in parallel."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_worker(monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
