"""The mutation tool: what it changes, what it ignores, and that its verdicts are right."""

from __future__ import annotations

import pytest

from gpunet import emulator, ops
from gpunet.backend import kernels
from tests.full import checks, report
from tests.full.code import Code
from tests.full.forkserver import ForkServer
from tests.full.mutants import OPERATORS, mutants
from tests.harness.backends import missing

ACCUMULATE = """
// A comment with p < q, w[p] and __syncwarp();
#define SIZE(n) ((n) < 4 && (n) > 0 ? 0 : x[n])
struct Window { int n, at[3], size[3]; };
template <class T> __device__ T twice(const T (&values)[3]) { return values[0]; }

extern "C" __global__ void accumulate(float* y, const float* x, int n) {
    __shared__ float tile[32][33];
    float sum[2][2] = {}, best = 0;
    int i = threadIdx.x + x[0], other[2], *more[2];
    if (i < n && i >= 0) tile[i][0] = x[i];
    __syncthreads();
    for (int k = first(i); k < min(n, 32); ++k) sum[0][k % 2] += k ? tile[k][0] : 0;
    __threadfence();
    wait_copies<1>();
    auto store = [&](int j) { y[j] -= sum[0][1] - -1; };
    asm("bar.sync 0 < 1;");
    store(i);
}
"""

# What each operator makes of the line that holds the first text.
EXPECTED = {
    "barrier": [("__syncthreads();", "(void)0;")],
    "fence": [("__threadfence();", "(void)0;")],
    "wait": [("wait_copies<1>();", "(void)0;")],
    "comparison": [("i < n &&", "i <= n &&"), ("i >= 0", "i > 0"), ("k < min", "k <= min")],
    "operand": [
        ("i < n && i >= 0", "i >= 0"),
        ("i < n && i >= 0", "i < n"),
        ("min(n, 32)", "(n)"),
        ("min(n, 32)", "(32)"),
    ],
    "index": [
        ("values[0]", "values[0 + 1]"),
        ("+ x[0]", "+ x[0 + 1]"),
        ("tile[i][0]", "tile[i + 1][0]"),
        ("tile[i][0]", "tile[i][0 + 1]"),
        ("x[i]", "x[i + 1]"),
        ("sum[0][k % 2]", "sum[0 + 1][k % 2]"),
        ("sum[0][k % 2]", "sum[0][k % 2 + 1]"),
        ("tile[k][0]", "tile[k + 1][0]"),
        ("tile[k][0]", "tile[k][0 + 1]"),
        ("y[j]", "y[j + 1]"),
        ("sum[0][1]", "sum[0 + 1][1]"),
        ("sum[0][1]", "sum[0][1 + 1]"),
    ],
    "start": [("k = first(i)", "k = first(i) + 1")],
    "zero": [("sum[2][2] = {}", "sum[2][2]"), ("best = 0", "best = 1")],
    "predicate": [
        ("(i < n && i >= 0)", "(true)"),
        ("(i < n && i >= 0)", "(false)"),
        ("k ? tile", "true ? tile"),
        ("k ? tile", "false ? tile"),
    ],
    "arithmetic": [
        ("threadIdx.x + x", "threadIdx.x - x"),
        ("+= k", "-= k"),
        ("-= sum", "+= sum"),
        ("sum[0][1] - -1", "sum[0][1] + -1"),
    ],
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_makes_exactly_these_mutants(operator):
    made = [mutant.apply(ACCUMULATE) for mutant in mutants("a.cu", ACCUMULATE) if mutant.operator == operator]
    expected = [ACCUMULATE.replace(original, mutated, 1) for original, mutated in EXPECTED[operator]]
    assert all(text != ACCUMULATE for text in expected)
    assert made == expected


def test_a_mutant_says_where_it_is():
    mutant = next(mutant for mutant in mutants("a.cu", ACCUMULATE) if mutant.operator == "barrier")
    assert (mutant.where, mutant.number) == ("accumulate", 12)
    assert (mutant.line, mutant.mutated) == ("__syncthreads();", "(void)0;")
    inner = next(mutant for mutant in mutants("a.cu", ACCUMULATE) if "values[0 + 1]" in mutant.mutated)
    assert inner.where == "twice"


def test_a_change_over_several_lines_is_told_on_one():
    text = "void f() {\n    if (a < b &&\n        c)\n        g();\n}\n"
    told = {mutant.mutated for mutant in mutants("a.cu", text) if mutant.operator == "operand"}
    assert told == {"if (c)", "if (a < b)"}


def test_what_only_the_gpu_compiles_is_left_alone():
    text = """
#ifdef GPUNET_EMULATOR
void f() { x = a < 1; }
#else
void f() { x = a < 2; }
#endif
#ifdef GPUNET_EMULATOR
void f() { x = a < 7; }
#elif OLD
void f() { x = a < 8; }
#else
void f() { x = a < 9; }
#endif
#if __CUDA_ARCH__ >= 800
void g() { x = a < 3; }
#else
void g() { x = a < 4; }
#endif
#ifndef GPUNET_EMULATOR
void h() { x = a < 5; }
#endif
#ifdef REAL
void i() { x = a < 6; }
#endif
"""
    lines = [mutant.line for mutant in mutants("a.cu", text)]
    assert [line[-4] for line in lines] == ["1", "7", "4", "6"]


def test_what_a_kernel_reaches_by_an_alias_or_an_aligned_struct_counts():
    code = Code(
        "template <class T> struct alignas(8 < 16 ? 8 : 16) Pair { T at[2]; };\n"
        "struct Maker { Pair<int> made; };\n"
        "using Chosen = Maker;\n"
        "void near() { Chosen c; }\n"
        "void far() {}\n"
    )
    assert [name for name, _, _ in code.blocks] == ["Pair", "Maker", "Chosen", "near", "far"]
    assert code.users("Pair") == {"Pair", "Maker", "Chosen", "near"}


def test_every_argument_fits_the_kernels_of_today():
    every = [mutant for file in kernels.kernel_dir().glob("*.cu*") for mutant in mutants(file.name, file.read_text())]
    proofs, problems = report.read_arguments(every)
    assert problems == []
    assert all(len(proof.split()) >= 5 for proof in proofs.values()), "a proof is a sentence"


def test_an_argument_for_an_edited_line_is_an_error(tmp_path):
    path = tmp_path / "equivalent.toml"
    entry = '[[mutant]]\nfile = "a.cu"\nwhere = "accumulate"\nline = "{}"\nmutated = "(void)0;"\nproof = "Because."\n'
    every = mutants("a.cu", ACCUMULATE)
    path.write_text(entry.format("__syncthreads();"))
    proofs, problems = report.read_arguments(every, path)
    assert problems == [] and list(proofs.values()) == ["Because."]
    path.write_text(entry.format("__syncthreads();  // edited"))
    assert "no mutant of a.cu in accumulate turns" in report.read_arguments(every, path)[1][0]
    path.write_text(2 * entry.format("__syncthreads();"))
    assert "two proofs" in report.read_arguments(every, path)[1][0]


def test_results_are_counted_and_told(tmp_path):
    every = mutants("a.cu", ACCUMULATE)[:4]
    fates = [
        report.Fate(every[0], "killed", "values", "AssertionError"),
        report.Fate(every[1], "killed", "race", "timeout"),
        report.Fate(every[2], "survived", "asan", ""),
        report.Fate(every[3], "identical", "values", ""),
    ]
    proofs = {report.key(every[2]): "It is the same.", report.key(every[0]): "It is the same."}
    texts = {"a.cu": ACCUMULATE}
    files = report.save({"a.cu": report.part(ACCUMULATE, fates, proofs)}, texts, 1.0, tmp_path / "mutation.json")
    total = report.summary(files)
    assert (total["mutants"], total["killed"], total["survived"], total["argued"]) == (3, 2, 1, 1)
    assert total["score"] == 0.6667 and total["killers"] == {"values": 1, "timeout": 1}
    told = "\n".join(report.table(files, texts))
    assert "66.7%" in told and every[2].mutated in told and "It is the same." in told
    assert "changed since" in "\n".join(report.table(files, {"a.cu": ""}))
    (problem,) = report.killed_though_argued(fates, proofs)
    assert "is killed in values" in problem


def test_help_teaches(capsys, monkeypatch):
    from tests.full.__main__ import main

    monkeypatch.delattr("os.sched_getaffinity", raising=False)  # which macOS and Windows have not

    with pytest.raises(SystemExit):
        main(["mutate", "--help"])
    told = capsys.readouterr().out
    assert "examples:" in told and "equivalent.toml" in told and "exit codes" in told
    with pytest.raises(SystemExit, match="2"):
        main(["mutate", "--only", "nothing.cu"])
    assert "there is no nothing.cu in kernels/; there are" in capsys.readouterr().err
    for wrong in (["--sample", "-1"], ["--jobs", "0"]):
        with pytest.raises(SystemExit, match="2"):
            main(["mutate", *wrong])


@pytest.fixture(scope="module")
def judge():
    """Judge texts of reduce.cu with the Cases of sum_to_size, in the way in which mutants are judged."""
    if emulator.unavailable():
        missing("emulated", emulator.unavailable())
    server = ForkServer("fast", cpu_seconds=1.0)
    subjects = [
        i for i in checks.subjects_of("reduce.cu") if getattr(checks.SUBJECTS[i], "op", None) is ops.sum_to_size
    ]
    yield lambda text, changed="": server.judge({"reduce.cu": text}, subjects, ["values", "race"], changed)
    server.close()


REDUCE = kernels.kernel_dir().joinpath("reduce.cu").read_text()


def test_a_barrier_that_is_needed_kills_its_mutant_and_a_needless_one_does_not(judge):
    needed = "__syncthreads();  // the other half"
    planted = REDUCE.replace("ACC sum = 0;", "ACC sum = 0; __syncthreads();")
    assert needed in planted and planted != REDUCE
    verdicts = {m.line: judge(m.apply(planted)) for m in mutants("reduce.cu", planted) if m.operator == "barrier"}
    needless, missed = (next(v for line, v in verdicts.items() if line.startswith(s)) for s in ("ACC sum", needed[:16]))
    assert len(verdicts) == 2 and needless == {"verdict": "survived", "stage": "race", "detail": ""}
    assert missed["verdict"] == "killed"


def test_a_barrier_whose_lack_gives_right_values_is_missed_in_race_mode(judge):
    """The last parts add here: they run last, so that they read what the others have written even without it."""
    text = REDUCE.replace("part == 0 &&", "part == parts - 1 &&")
    text = text.replace("part < half", "part >= parts - half").replace("threadIdx.x + half", "threadIdx.x - half")
    assert judge(text)["verdict"] == "survived"
    found = judge(text.replace("__syncthreads();", "", 1))
    assert (found["verdict"], found["stage"]) == ("killed", "race") and "race" in found["detail"]


@pytest.mark.parametrize(
    ("original", "mutated", "verdict", "detail"),
    [
        ("ACC sum = 0;", "ACC sum = nothing;", "stillborn", "g++ does not compile"),
        ("ACC sum = 0;", "ACC sum = 0;  // no change", "identical", ""),
        ("i += parts", "i += 0", "killed", "timeout"),
        ("ACC sum = 0;", "ACC sum = 0; out = nullptr;", "killed", "the process ended with -11"),
        ("+ output] = held", "+ output + 1] = held", "killed", "wrote outside"),
    ],
)
def test_verdicts(judge, original, mutated, verdict, detail):
    assert original in REDUCE
    found = judge(REDUCE.replace(original, mutated), "reduce.cu")
    assert found["verdict"] == verdict and found["stage"] == "values" and detail in found["detail"]


def test_a_fault_of_the_checks_is_no_kill():
    server = ForkServer("fast")
    try:
        found = server.judge({}, [0], ["no such stage"])
        assert found["verdict"] == "broken" and "KeyError" in found["detail"]
    finally:
        server.close()
