"""What a mutant has to survive: the Cases and Specials that launch kernels of its file, the cheapest checks first."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gpunet import backend, emulator
from gpunet.backend import Backend, Device, emulated, kernels
from gpunet.emulator import build
from tests.cases import CASES, SPECIALS
from tests.full.code import Code
from tests.harness.case import FLOATS, Case, Special
from tests.harness.memory import VARIANTS
from tests.harness.oracle import Oracle, result_bytes

SUBJECTS: list[Case | Special] = [*CASES, *SPECIALS]
# Values in float32, then in the other dtypes; in float32 again: inputs with any strides, other orders of threads, and
# what the emulator checks. asan needs a process that is prepared for it.
STAGES = ("values", "dtypes", "memory", "schedules", "race", "asan")
MOST_CASES = 24  # from the stage "memory" on; more of them only repeat launches
SCHEDULES = (("reverse", 0), ("random", 1), ("random", 2))

Check = tuple[int, Callable[[], object]]  # the number of its subject; it raises an error where it fails


def sources_with(file: str) -> list[str]:
    """The kernel files that a file is part of: itself, or all that include it."""
    return [name for name in kernels.kernel_files() if f'#line 1 "{file}"' in kernels.load(name).text]


def subjects_of(file: str, where: str = "") -> list[int]:
    """Numbers of the SUBJECTS that may see a change in a file, cheap ones first.

    Args:
        file: in kernels/, .cu or .cuh.
        where: the function or struct that is changed: only kernels that can reach it count.
    """
    changed = {kernel for source in sources_with(file) for kernel in _kernels_that_reach(source, where)}
    return sorted((i for i, subject in enumerate(SUBJECTS) if changed & set(subject.kernels)), key=_size)


@functools.cache
def _kernels_that_reach(source: str, name: str) -> set[str]:
    parsed = kernels.load(source)
    code = Code(parsed.text)
    # A type may be named by a macro that the host defines, such as REAL=half, or by what is made of it.
    macros = [macro for macro in parsed.macros if name in kernels.MACRO_VALUES[macro]]
    names = [name, *macros, *(["ACC"] if macros else [])]
    reached = set().union(*map(code.users, names)) if name else set(parsed.kernels)
    return reached & set(parsed.kernels)


def _size(number: int) -> int:
    subject = SUBJECTS[number]
    if isinstance(subject, Special):
        return 10**9  # many launches, in many variants
    return sum(int(np.prod(shape)) for shape in subject.shapes.values() if shape is not None)


@functools.cache
def oracle(number: int, dtype: np.dtype) -> Oracle:
    """The reference results of a Case, computed once in the process whose forks compare with them."""
    case = SUBJECTS[number]
    assert isinstance(case, Case)
    made = Oracle(case, dtype, np.random.default_rng(20261124))
    assert made.outputs is not None and made.magnitude and (not case.grad_launches or made.gradients)
    return made


def dtypes_of(where: str) -> list[np.dtype]:
    """The dtypes that may see a change in a function or struct, the one to begin with first."""
    names = kernels.MACRO_VALUES["REAL"]
    dtypes = sorted(FLOATS, key=lambda dtype: dtype != np.float32)
    own = [dtype for dtype in dtypes if where in names and kernels.c_type(dtype) == where]  # struct half, bfloat16
    return own or dtypes


def prepare(numbers: list[int], stages: list[str], where: str) -> None:
    """Compute the reference results that the stages compare with."""
    for number in numbers:
        if isinstance(SUBJECTS[number], Case) and "values" in stages:
            for dtype in dtypes_of(where):
                oracle(number, dtype)


def checks(stage: str, numbers: list[int], where: str = "", killers: Sequence[int] = ()) -> Iterator[Check]:
    """The checks of a stage on these subjects, in the order in which they are worth running.

    Args:
        stage: one of STAGES.
        numbers: of the SUBJECTS, cheap ones first.
        where: the function or struct that is changed.
        killers: the subjects that come before all others.
    """
    be = backend.get(Device("emulated"))
    first, *others = dtypes_of(where)
    if stage not in ("values", "dtypes"):
        cases = [number for number in numbers if isinstance(SUBJECTS[number], Case)]
        left_out = set(cases) - set(cases[:: -(-len(cases) // MOST_CASES) or 1])
        numbers = [number for number in numbers if number not in left_out]
    numbers = [*(number for number in killers if number in numbers), *(n for n in numbers if n not in killers)]
    for dtype in others if stage == "dtypes" else [first]:
        for number in numbers:
            subject = SUBJECTS[number]
            if isinstance(subject, Case):
                yield number, functools.partial(_CHECKS[stage], be, number, dtype)
            elif stage not in ("dtypes", "memory"):
                yield number, functools.partial(_special, stage, be, subject)


def _values(be: Backend, number: int, dtype: np.dtype) -> None:
    expected = oracle(number, dtype)
    expected.check_forward(be)
    if expected.case.grad_launches:
        expected.check_gradient(be)


def _memory(be: Backend, number: int, dtype: np.dtype) -> None:
    if not SUBJECTS[number].op.mutates:
        for change in VARIANTS.values():
            oracle(number, dtype).check_forward(be, change)


def _schedules(be: Backend, number: int, dtype: np.dtype) -> None:
    expected = result_bytes(be, SUBJECTS[number], dtype)
    for schedule, seed in SCHEDULES:
        with emulator.configure(schedule=schedule, seed=seed):
            assert result_bytes(be, SUBJECTS[number], dtype) == expected, f"other bits in order {schedule} {seed}"


def _race(be: Backend, number: int, dtype: np.dtype) -> None:
    with emulator.configure(mode="race"):
        result_bytes(be, SUBJECTS[number], dtype)


def _asan(be: Backend, number: int, dtype: np.dtype) -> None:
    result_bytes(be, SUBJECTS[number], dtype)


def _special(stage: str, be: Backend, special: Special) -> None:
    settings = [{"schedule": name, "seed": seed} for name, seed in SCHEDULES] if stage == "schedules" else [{}]
    for setting in [{"mode": "race"}] if stage == "race" else settings:
        with emulator.configure(**setting):
            special.run(be)


_CHECKS: dict[str, Callable[..., None]] = {
    "values": _values,
    "dtypes": _values,
    "memory": _memory,
    "schedules": _schedules,
    "race": _race,
    "asan": _asan,
}


def machine_code(file: str) -> Iterator[str]:
    """Digests of the compiled libraries of all variants that a file is part of."""
    for source in sources_with(file):
        for defines in kernels.variants(source):
            path, _ = build.library(kernels.load(source).text, None, emulated.compile_options(defines), "fast")
            yield hashlib.sha256(path.read_bytes()).hexdigest()
