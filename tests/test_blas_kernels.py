"""Which OpenBLAS kernels a fresh process gets, by what comes first and what the environment says."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gpunet import blas_kernels
from gpunet.cli import doctor

AVX512 = "avx512f avx512dq avx512bw avx512vl"
ASK = (
    "from gpunet.backend import blas; import os; print(blas.describe()['kernels'], os.environ.get('OPENBLAS_CORETYPE'))"
)


def cpu(vendor="AuthenticAMD", family=26, flags=AVX512):
    return f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nflags\t\t: fpu {flags} fma\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (cpu(family=26), "SkylakeX"),
        (cpu(family=25), "Haswell"),
        (cpu(family=27), None),
        (cpu(family=25, flags="avx2"), None),
        (cpu(family=26, flags="avx512f avx512dq avx512bw"), None),
        (cpu(vendor="GenuineIntel", family=6), None),
        ("Features : fp asimd", None),
        ("", None),
    ],
)
def test_kernels_by_cpu(cpuinfo, expected):
    assert blas_kernels.best(cpuinfo) == expected


def kernels(code, **environment):
    """Return which kernels a fresh process runs, and what it would hand to its children."""
    clean = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "GPUNET_BLAS_KERNELS")}
    command = [sys.executable, "-c", f"{code}; {ASK}"]
    return subprocess.run(
        command, env={**clean, **environment}, check=True, capture_output=True, text=True
    ).stdout.split()


@pytest.fixture(scope="module")
def own_choice():
    """What NumPy's OpenBLAS takes if nobody interferes."""
    name, inherited = kernels("import numpy, gpunet")
    if name == "unknown":
        pytest.skip("NumPy does not use OpenBLAS here")
    assert inherited == "None"
    return name


def test_gpunet_first_chooses_and_leaves_the_environment_as_it_was(own_choice):
    assert kernels("import gpunet") == [blas_kernels.wanted() or own_choice, "None"]


def test_users_choose(own_choice):
    assert kernels("import gpunet", GPUNET_BLAS_KERNELS="numpy") == [own_choice, "None"]
    assert kernels("import gpunet", OPENBLAS_CORETYPE="Haswell") == kernels("import numpy", OPENBLAS_CORETYPE="Haswell")


def test_doctor_says_which_run(monkeypatch):
    monkeypatch.setattr(blas_kernels, "wanted", lambda: "SkylakeX")
    name, works, text = doctor._blas_kernels("SkylakeX")
    assert works and text.startswith("SkylakeX, chosen by gpunet in programs that import it before numpy")
    name, works, text = doctor._blas_kernels("Haswell")
    assert (name, works) == ("blas kernels", False)
    assert text == "Haswell; SkylakeX is faster on this CPU: import gpunet before numpy"
    monkeypatch.setattr(blas_kernels, "wanted", lambda: None)
    assert doctor._blas_kernels("Zen")[1:] == (True, "Zen, as NumPy or the environment chose")
