"""Launches as text: what is read, and how a mistake is shown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpunet.backend.launch_text import Array, launches_in, parse
from gpunet.errors import KernelError


def test_everything_the_notation_has():
    launch = parse(
        "  tiles<<< (2, 3) ,(16,8,2), shared = 2048>>>( c=float[35, 18], mask = unsigned char[7]=0,none=null, n=-3,\n"
        "hex=0x1F, a=.5, b=2.0f, c2=-1e-3, big=inf, low=-inf, odd=nan, yes=true, no=false, one=REAL[1]=1.5)"
    )
    assert (launch.kernel, launch.grid, launch.block, launch.shared) == ("tiles", (2, 3), (16, 8, 2), 2048)
    arguments = dict(launch.arguments)
    assert math.isnan(arguments.pop("odd"))
    assert arguments == {
        "c": Array("float", (35, 18)),
        "mask": Array("unsigned char", (7,), 0),
        "none": None,
        "n": -3,
        "hex": 31,
        "a": 0.5,
        "b": 2.0,
        "c2": -0.001,
        "big": math.inf,
        "low": -math.inf,
        "yes": True,
        "no": False,
        "one": Array("REAL", (1,), 1.5),
    }
    assert type(launch.arguments["n"]) is int and type(launch.arguments["b"]) is float
    assert parse("f<<<1, 32>>>()").arguments == {}


WRONG = [
    ("", "", "the name of a kernel, got the end"),
    ("saxpy(y=1)", "saxpy", "'<<<', got ("),
    ("f<<<1>>>(a=1)", "f<<<1", "',', got >>>"),
    ("f<<<0, 1>>>(a=1)", "f<<<", "an integer >= 1, got 0"),
    ("f<<<1.5, 1>>>(a=1)", "f<<<", "an integer >= 1, got 1.5"),
    ("f<<<n, 1>>>(a=1)", "f<<<", "an integer, got n"),
    ("f<<<1, (1, 2, 3, 4)>>>()", "f<<<1, (1, 2, 3, 4", "at most three sizes, got )"),
    ("f<<<1, 1, 2048>>>()", "f<<<1, 1, ", "shared=BYTES, got 2048"),
    ("f<<<1, 1, stream=0>>>()", "f<<<1, 1, ", "shared=BYTES, got stream"),
    ("f<<<1, 1, shared=-1>>>()", "f<<<1, 1, shared=", "an integer >= 0, got -1"),
    ("f<<<1, 1>>>", "f<<<1, 1>>>", "'(', got the end"),
    ("f<<<1, 1>>>(3)", "f<<<1, 1>>>(", "the name of a parameter, got 3"),
    ("f<<<1, 1>>>(a)", "f<<<1, 1>>>(a", "'=', got )"),
    ("f<<<1, 1>>>(a=)", "f<<<1, 1>>>(a=", "a number, null, or an array such as float[200], got )"),
    ("f<<<1, 1>>>(a=1 b=2)", "f<<<1, 1>>>(a=1 ", "',' or ')', got b"),
    ("f<<<1, 1>>>(a=1, a=2)", "f<<<1, 1>>>(a=1, ", "another parameter (a is there already), got a"),
    ("f<<<1, 1>>>(a=1,)", "f<<<1, 1>>>(a=1,", "the name of a parameter, got )"),
    ("f<<<1, 1>>>(a=float)", "f<<<1, 1>>>(a=float", "'[' and the array's sizes, got )"),
    ("f<<<1, 1>>>(a=float[])", "f<<<1, 1>>>(a=float[", "an integer, got ]"),
    ("f<<<1, 1>>>(a=float[0])", "f<<<1, 1>>>(a=float[", "an integer >= 1, got 0"),
    ("f<<<1, 1>>>(a=float[2 3])", "f<<<1, 1>>>(a=float[2 ", "',' or ']', got 3"),
    ("f<<<1, 1>>>(a=float[2]=x)", "f<<<1, 1>>>(a=float[2]=", "a number for all elements, got x"),
    ("f<<<1, 1>>>(a=__import__('os'))", "f<<<1, 1>>>(a=__import__", "'[' and the array's sizes, got ("),
    ("f<<<1, 1>>>(a=1; b=2)", "f<<<1, 1>>>(a=1", "',' or ')', got ;"),
    ("f<<<1, 1>>>(a=1) // why", "f<<<1, 1>>>(a=1) ", "nothing more, got /"),
]


@pytest.mark.parametrize(("text", "before", "expected"), WRONG, ids=[text or "nothing" for text, *_ in WRONG])
def test_a_mistake_is_marked(text, before, expected):
    with pytest.raises(KernelError) as error:
        parse(text, "a.cu:3")
    lines = str(error.value).splitlines()
    assert lines[0] == "a.cu:3: this is not a launch." and lines[-1].startswith("  hint: such as: saxpy<<<")
    assert lines[1:4] == [f"  {text}", f"  {' ' * len(before)}^", f"  expected {expected}"]


def test_large_launches_are_refused():
    with pytest.raises(KernelError, match=r"the arrays have 100,000,001 elements(.|\n)*expected at most 67,108,864"):
        parse("f<<<1, 1>>>(a=float[10000, 10000], b=int[1])")


def test_a_file_carries_launches_in_comment_lines():
    text = "// launch: f<<<1, 2>>>(n=1)\nint launch: 3;\n  //launch:g<<<3, 4>>>()\n// a launch: h\n/* launch: h */\n"
    found = launches_in("dir/a.cu", text)
    assert [(launch.kernel, launch.where) for launch in found] == [("f", "dir/a.cu:1"), ("g", "dir/a.cu:3")]
    with pytest.raises(KernelError, match=r"^a\.cu:2: this is not a launch"):
        launches_in("a.cu", "\n// launch: f<<<1>>>()")


@given(st.text(st.sampled_from("fa<>()[],=0x1.-e \nnulshred_;")) | st.text())
def test_any_text_is_read_or_refused(text):
    try:
        launch = parse(text)
    except KernelError:
        return
    assert launch.grid and launch.block
