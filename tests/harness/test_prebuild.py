from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gpunet.backend import kernels
from gpunet.backend.emulated import EmulatedBackend
from gpunet.emulator import build
from tests.harness import prebuild


@pytest.mark.only_backends("emulated")
def test_a_kernel_that_was_built_ahead_is_not_compiled_at_its_launch(be, monkeypatch):
    prebuild.prebuild(["fast"])
    monkeypatch.setattr(build, "_compile", lambda *args: pytest.fail("compiled again"))
    fresh = EmulatedBackend()
    for file, kernel in (("copy.cu", "fill"), ("pool.cu", "max_pool_indices")):  # of one macro, of two
        for defines in kernels.variants(file):
            dtypes = {macro: kernels.load(file).dtype(macro, defines) for macro in defines}
            if kernel == "fill":
                args = (fresh.empty((3,), dtypes["ELEMENT"]), dtypes["ELEMENT"].type(7), 3)
            else:
                nothing = np.zeros((), kernels.load(file).dtype("Window", {}))
                args = (fresh.zeros((1,), np.int64), fresh.zeros((1,), dtypes["INDEX"]), nothing)
            fresh.launch(file, kernel, 1, 32, args, **dtypes)


def test_kernels_are_built_ahead_only_where_many_tests_launch_them():
    emulated = SimpleNamespace(fixturenames=["be"], callspec=SimpleNamespace(params={"backend_name": "emulated"}))
    numpy = SimpleNamespace(fixturenames=["be"], callspec=SimpleNamespace(params={"backend_name": "numpy"}))
    checked = SimpleNamespace(fixturenames=["emulated", "case"])
    other = SimpleNamespace()
    assert prebuild.modes_of([other, emulated, checked] + 500 * [numpy]) == []
    assert prebuild.modes_of([other] + 100 * [emulated]) == ["fast"]
    assert prebuild.modes_of([other] + 100 * [checked]) == ["fast", "race", "asan"]
