"""What the README shows runs, and its table of ops is complete."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from gpunet import emulator, ops
from gpunet.backend import emulated_xp
from tests.harness.backends import missing

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
ON_ARRAYS, SCRIPT = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_ops_on_bare_arrays_need_no_library_of_cuda_but_its_compiler(monkeypatch):
    if reason := emulator.unavailable():
        missing("emulated", reason)
    monkeypatch.setitem(sys.modules, "cupy", emulated_xp)  # without cupy.random, which needs cuRAND
    names: dict = {}
    exec(ON_ARRAYS, names)
    assert names["gx"].shape == names["x"].shape and names["indices"].dtype == "int64"


def test_the_training_script_runs():
    exec(SCRIPT.replace("data.MNIST()", "data.Subset(data.MNIST(), range(64))").replace('"auto"', '"cpu"'), {})


def test_the_table_names_every_op():
    table = re.search(r"\| family \| ops \|\n(.*?)\n\n", README, re.DOTALL)
    named = [re.fullmatch(r"(.*?)((?:\dd/?)*)", name) for name in re.findall(r"`(\w[\w/]*)`", table[1])]
    listed = [match[1] + axes for match in named for axes in match[2].split("/")]
    assert sorted(listed) == [name for name in sorted(ops.__all__) if not re.fullmatch("conv.d_(input|weight)", name)]
