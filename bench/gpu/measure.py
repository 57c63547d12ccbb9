"""Measures the roofline and the rows, and judges each row by its goal."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from bench import timing
from bench.gpu import memory, products
from bench.gpu.rig import PRECISIONS, Rig
from bench.gpu.rows import Match, Row
from bench.gpu.stopwatch import compare
from bench.work import Work
from gpunet.backend.dtypes import bfloat16

COPY_ELEMENTS = 1 << 27  # float32: 512 MB, ten times what the caches of a GPU hold
PRODUCT_SIZES = (4096, 8192)


@dataclass
class Roof:
    """What this GPU reached in this run: bytes per second in copies, operations per second in products."""

    copy: float = 0.0
    product: dict[str, float] = field(default_factory=dict)  # by precision

    def share(self, counted: Work, seconds: float, precision: str) -> float | None:
        """Return the least time that the roof allows over the time taken; None if the roof is unknown."""
        if not self.copy or precision not in self.product:
            return None
        return max(counted.bytes / self.copy, counted.flops / self.product[precision]) / seconds


def catalogue(toy: bool, text: str = "") -> list[Row]:
    """Return all rows, or all at toy sizes, whose names have a text in them.

    Raises:
        ValueError: there is none.
    """
    rows = [row for row in (*products.rows(toy), *memory.rows(toy)) if text in str(row)]
    if not rows:
        raise ValueError(f"no row has {text!r} in its name\n  hint: python -m bench.gpu rows")
    return rows


class Bench:
    """Everything that was measured, and what was not and why.

    Attributes:
        results: one per row and contestant; `extra` is what the table reads (see bench/README.md).
        left_out: what was to be measured and was not, with the reason.
        wrong: rows in which gpunet's result is not what it should be, or in which it failed.
        current: what is measured at present.
    """

    def __init__(self, rig: Rig, text: str = "") -> None:
        self.rig, self.roof = rig, Roof()
        self.rows = catalogue(rig.dry, text)
        self._results: list[timing.Result] = []
        self.left_out: list[str] = []
        self.wrong: list[str] = []
        self.current = "roofline"

    @property
    def results(self) -> list[timing.Result]:
        """The roofline, then all rows, in the order of the catalogue."""
        places = {(row.op, row.case, row.precision): place for place, row in enumerate(self.rows)}

        def place(result: timing.Result) -> int:
            return places.get(tuple(result.extra[key] for key in ("op", "case", "precision")), -1)

        return sorted(self._results, key=place)

    def run(self, until: float, progress: Callable[[list[Row]], Iterable[Row]], saved: Callable[[], None]) -> None:
        """Measure until a moment of `time.perf_counter`; call `saved` every ten seconds."""
        self._roofline(until)
        chosen = sorted(self._possible(), key=lambda row: row.urgency)
        written = time.perf_counter()
        for done, row in enumerate(progress(chosen)):
            self.current, now = str(row), time.perf_counter()
            if now > until:
                self.left_out += [f"{late}: no time was left" for late in chosen[done:]]
                return
            self._row(row, now + (until - now) / (len(chosen) - done))
            if not self._device_works():
                self.left_out += [f"{late}: the device failed before" for late in chosen[done + 1 :]]
                return
            if now - written > 10:
                saved()
                written = now

    def _possible(self) -> list[Row]:
        """Return the rows whose arrays can be made here."""
        try:
            bfloat16()
        except ImportError as error:
            possible = [row for row in self.rows if row.precision != "bf16"]
            self.left_out.append(f"{len(self.rows) - len(possible)} rows in bf16: {_brief(error)}")
            return possible
        return self.rows

    def _device_works(self) -> bool:
        """Say whether the device still answers: after an invalid access, nothing works in this process any more."""
        try:
            self.rig.be.synchronize()
        except Exception as error:  # of CuPy or the driver
            self.wrong.append(f"the device failed: {error}")
            return False
        return True

    # The roofline.

    def _roofline(self, until: float) -> None:
        """Measure copies and PyTorch's products; a tenth of the time at most."""
        rig, dry = self.rig, self.rig.dry
        deadline = time.perf_counter() + (until - time.perf_counter()) / 10
        x = rig.be.zeros((64 if dry else COPY_ELEMENTS,), "float32")
        out = rig.be.empty(x.shape, x.dtype)
        counted = Work(0, 2 * x.nbytes)
        copies = {"memcpy": lambda: rig.memcpy(out, x), "gpunet copy": lambda: rig.be.copy(out, x)}
        for result in self._measured("copy", f"{x.nbytes >> 20} MiB", "fp32", counted, copies, deadline):
            self.roof.copy = max(self.roof.copy, result.extra["gb_per_s"] * 1e9)
        for precision in PRECISIONS:
            rig.allow_tf32(precision == "tf32")
            for size in (16,) if dry else PRODUCT_SIZES:
                a, b = (rig.normal((size, size), precision, seed) for seed in (0, 1))
                counted = Work(2 * size**3, 3 * size**2 * a.element_size())
                calls = {"torch": lambda a=a, b=b: rig.torch.matmul(a, b)}
                for result in self._measured("product", f"{size}^3", precision, counted, calls, deadline):
                    rate = max(self.roof.product.get(precision, 0), result.extra["gflop_per_s"] * 1e9)
                    self.roof.product[precision] = rate

    def _measured(
        self, op: str, case: str, precision: str, counted: Work, calls: dict[str, Any], until: float
    ) -> list[timing.Result]:
        """Time calls and keep the results under the family `roof`."""
        try:
            times = compare(self.rig, calls, until)
        except Exception as error:  # whatever a library or the device raises, the rest can still be measured
            self.left_out.append(f"roofline, {op} {case} {precision}: {_brief(error)}")
            return []
        named = {"family": "roof", "op": op, "case": case, "precision": precision}
        found = [_result(named, name, times[name], counted) for name in calls]
        self._results += found
        return found

    # The rows.

    def _row(self, row: Row, until: float) -> None:
        """Compare results, then times; note what fails and go on."""
        try:
            match = row.setup(self.rig)
            errors, failures = self._check(match)
        except Exception as error:  # of our ops, PyTorch, CuPy or the device
            self._failed(row, error)
            return
        for name, failure in failures.items():
            self._failed(row, failure, name)
        calls = {name: call for name, call in match.calls.items() if name not in failures}
        kernels = self._kernels(calls.get("gpunet"))
        try:
            times = compare(self.rig, calls, until)
        except Exception as error:
            self._failed(row, error)
            return
        named = {"family": row.family, "op": row.op, "case": row.case, "precision": row.precision}
        found = {name: _result(named, name, times[name], row.work, error=_finite(errors.get(name))) for name in calls}
        if "gpunet" in found:
            found["gpunet"].extra.update(kernels=kernels, **self._verdict(row, found))
            off = errors.get("gpunet", 0.0)
            if not off <= row.tolerance:
                self.wrong.append(f"{row}: error {off:.2g}, but at most {row.tolerance:g} is right")
        self._results += found.values()

    def _check(self, match: Match) -> tuple[dict[str, float], dict[str, Exception]]:
        """Call every contestant once; return the errors of their results, and who failed."""
        errors: dict[str, float] = {}
        failures: dict[str, Exception] = {}
        exact, scale = match.expected() if match.expected else (None, 1.0)
        for name, call in match.calls.items():
            try:
                result = self.rig.tensor(call())
                if exact is not None:
                    errors[name] = float((result.double() - exact).abs().max()) / scale
            except Exception as error:
                failures[name] = error
        return errors, failures

    def _kernels(self, call: Callable[[], object] | None) -> dict[str, int]:
        """Return which kernels a call of gpunet launches, and how often."""
        before = Counter(self.rig.be.launched)
        if call:
            call()
        return dict(Counter(self.rig.be.launched) - before)

    def _failed(self, row: Row, error: Exception, who: str = "gpunet") -> None:
        """Note who failed; it is gpunet's fault unless a peer did, or a package or memory is missing."""
        self.left_out.append(f"{row}, {who}: {_brief(error)}")
        lacks = isinstance(error, ImportError | MemoryError) or "OutOfMemory" in type(error).__name__
        if who == "gpunet" and not lacks:
            self.wrong.append(f"{row}: {_brief(error)}")

    def _verdict(self, row: Row, found: dict[str, timing.Result]) -> dict[str, Any]:
        """Return the best peer, the share of the roofline, and what the goal says."""
        ours = found["gpunet"]
        peers = {name: result.median for name, result in found.items() if name != "gpunet"}
        best = min(peers, key=lambda name: peers[name]) if peers else None
        said: dict[str, Any] = {
            "best_peer": best,
            "speed_up": peers[best] / ours.median if best else None,
            "of_copy": row.work.bytes / ours.median / self.roof.copy if self.roof.copy else None,
            "of_roof": self.roof.share(row.work, ours.median, row.precision),
            "tolerance": row.tolerance,
            "goal": None,
        }
        if row.goal:
            reached = said["speed_up" if row.goal.measure == "speed-up" else "of_copy"]
            verdict = "not measured" if reached is None else "PASS" if reached >= row.goal.floor else "SHORT"
            said["goal"] = {
                "measure": row.goal.measure,
                "floor": row.goal.floor,
                "aim": row.goal.aim,
                "reached": reached,
                "verdict": verdict,
            }
        return said


def _result(named: dict[str, Any], who: str, timed: timing.Result, counted: Work, **more: Any) -> timing.Result:
    seconds = max(timed.median, 1e-9)  # a clock that shows nothing is no division by zero
    rates = {"gflop_per_s": counted.flops / seconds / 1e9, "gb_per_s": counted.bytes / seconds / 1e9}
    extra = {
        **named,
        "contestant": who,
        "flops": counted.flops,
        "bytes": counted.bytes,
        **rates,
        **timed.extra,
        **more,
    }
    name = f"{named['op']}, {named['case']}, {named['precision']}, {who}"
    return replace(timed, name=name, extra=extra)


def _finite(error: float | None) -> float | None:
    """Return what JSON can say of an error; NaN and infinity are among what was wrong."""
    return None if error is None or not math.isfinite(error) else error


def _brief(error: Exception) -> str:
    """Return an exception's kind and the first line of its text."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"
