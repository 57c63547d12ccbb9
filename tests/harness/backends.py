"""Which backends a run meets, shared by tests and benchmarks.

`pytest --backend cupy` selects; GPUNET_REQUIRE=numpy,cupy turns a missing one from a skip into a failure. Whoever
takes the fixture `be`, or `backend_name`, runs once per selected backend.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from gpunet import backend
from gpunet.backend import Device

BACKENDS = {"numpy": Device("cpu"), "emulated": Device("emulated"), "cupy": Device("cuda", 0)}


def required() -> set[str]:
    return {name for name in os.environ.get("GPUNET_REQUIRE", "").split(",") if name}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=list(BACKENDS),
        help="run on this backend only; may be given several times (default: all that work here)",
    )


def pytest_configure(config: pytest.Config) -> None:
    known = [*BACKENDS, "torch", "notebooks"]
    if unknown := required() - set(known):
        raise pytest.UsageError(f"GPUNET_REQUIRE names {sorted(unknown)}; known are {', '.join(known)}")


def selected(config: pytest.Config) -> list[str]:
    chosen = config.getoption("--backend")
    if chosen:
        return list(dict.fromkeys(chosen))
    return [name for name in BACKENDS if name != "cupy" or name in required() or not backend.unavailable("cuda")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend_name" in metafunc.fixturenames:
        names = selected(metafunc.config)
        only = metafunc.definition.get_closest_marker("only_backends")
        if only:
            names = [name for name in names if name in only.args]
        metafunc.parametrize("backend_name", names, scope="session")


def missing(what: str, reason: str) -> NoReturn:
    """Fail when the environment requires what is missing, else skip with the reason."""
    if what in required():
        pytest.fail(f"GPUNET_REQUIRE names {what}, but: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def be(backend_name: str) -> backend.Backend:
    """Return the backend under test."""
    device = BACKENDS[backend_name]
    reason = backend.unavailable(device.type)
    if reason:
        missing(backend_name, reason)
    return backend.get(device)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for name in selected(config):
        reason = backend.unavailable(BACKENDS[name].type)
        if reason:
            terminalreporter.write_line(f"the {name} backend was not tested: {reason}")
