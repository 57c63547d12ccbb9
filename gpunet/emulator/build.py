"""Compile kernel text and the runtime with g++, once per content, into a cache that processes share."""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gpunet.errors import KernelError, layout_message

HERE = Path(__file__).parent
HEADERS = ("runtime.h", "cuda.h", "tensor_core.h")
RUNTIME_HEADERS = ("worker.h", "callbacks.h")
RUNTIME_SOURCES = ("runtime.cpp", "race.cpp", "banks.cpp", "async_copy.cpp")

# A multiply and an add contract to one fused operation, as nvcc does it, and -march=native makes that an
# instruction instead of a library call. Results therefore differ between kinds of CPU (the cache key has its
# flags), never between runs or numbers of workers on one machine. -fexpensive-optimizations holds the pass that
# contracts, which -O1 lacks: all modes shall contract.
# -fno-gnu-unique: two variants of one file have templates of one name, which the loader would else merge.
_COMMON = [
    *("-std=c++17", "-fPIC", "-fno-gnu-unique", "-march=native"),
    *("-ffp-contract=fast", "-fexpensive-optimizations"),
]
# Kernels reinterpret buffers, as CUDA allows. -Bsymbolic: a kernel may be called like a function of libc.
_KERNEL = ["-fno-strict-aliasing", "-fmax-errors=5", "-DGPUNET_EMULATOR=1"]
_LINK = ["-shared", "-Wl,-Bsymbolic"]

# Instrumented like ThreadSanitizer, but the callbacks are our own (callbacks.h) and libtsan is never linked.
_INSTRUMENTED = ["-O1", "-g", "-DGPUNET_INSTRUMENTED", "-fsanitize=thread", "--param=tsan-instrument-func-entry-exit=0"]

# Frames are bounded because a fiber's stack is (runtime.cpp: 64 KiB, asan 256 KiB).
_MODE_KERNEL = {
    "fast": ["-O2", "-Werror=frame-larger-than=49152"],
    "race": [*_INSTRUMENTED, "-Werror=frame-larger-than=49152"],
    # A vector that is moved as a whole stays one access, and cuda.h alone tells of a memcpy.
    "banks": [
        *(*_INSTRUMENTED, "-fno-tree-sra", "-Werror=frame-larger-than=49152"),
        *("-fno-builtin-memcpy", "-fno-builtin-memmove", "-fno-builtin-memset"),
    ],
    "asan": [
        "-O1",
        "-g",
        "-DGPUNET_ASAN",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=undefined",
        "-Werror=frame-larger-than=196608",
    ],
}
_MODE_RUNTIME = {
    "fast": ["-O2"],
    "race": ["-O2", "-DGPUNET_RACE"],
    "banks": ["-O2", "-DGPUNET_BANKS"],
    "asan": ["-O1", "-g", "-DGPUNET_ASAN", "-fsanitize=address"],
}
_ANY_PATH = "surrogateescape"  # how Python keeps a path that is no text in the locale's encoding
_MODE_LINK: dict[str, list[str]] = {"fast": [], "race": [], "banks": [], "asan": ["-fsanitize=address,undefined"]}


@functools.cache
def unavailable() -> str | None:
    """None where the emulator can run, else one sentence with the reason and what helps."""
    if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "AMD64"):
        return f"the emulator runs on Linux x86-64 only, this is {platform.system()} {platform.machine()}"
    if shutil.which("g++") is None:
        return "the emulator needs the compiler g++, which is not on the PATH (Debian, Ubuntu: apt install g++)"
    return None


def asan_environment() -> dict[str, str]:
    """Environment variables, on top of the current ones, for a child process that runs kernels in asan mode.

    Raises:
        KernelError: the emulator cannot run here, or g++ comes without libasan.
    """
    library = _run(["g++", "-print-file-name=libasan.so"]).stdout.strip()
    if not os.path.isabs(library):
        raise KernelError(
            layout_message(
                "emulator",
                "g++ has no AddressSanitizer library.",
                hint="apt install g++ brings libasan along",
            )
        )
    return {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "GPUNET_EMULATOR_MODE": "asan",
    }


def _environment() -> dict[str, str]:
    """The process's environment for g++, without the libasan that asan mode preloads."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def _run(command: Sequence[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    reason = unavailable()
    if reason is not None:
        raise KernelError(layout_message("emulator", "kernels cannot be compiled here.", hint=reason))
    return subprocess.run(
        command, input=stdin, capture_output=True, encoding="utf-8", errors=_ANY_PATH, check=False, env=_environment()
    )


def _compile(what: str, command: Sequence[str], stdin: str | None = None) -> str:
    """Run g++; its first errors become a KernelError."""
    result = _run(["g++", *command], stdin)
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        shown = [line for line in lines if "error" in line] or lines
        first = lines.index(shown[0]) if shown else 0
        raise KernelError(
            layout_message(what, "g++ does not compile the kernel text.", inputs=lines[first : first + 20])
        )
    return result.stdout


@functools.cache
def _machine() -> str:
    """What besides text and flags decides the code: the compiler and, for -march=native, the CPU."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        flags = None
    return _run(["g++", "--version"]).stdout + (flags.group(1) if flags else platform.processor())


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join([_machine(), *parts]).encode(errors=_ANY_PATH)).hexdigest()[:24]


@functools.cache
def _own_text() -> str:
    names = (*HEADERS, *RUNTIME_HEADERS, *RUNTIME_SOURCES)
    return "\0".join((HERE / name).read_text(encoding="utf-8") for name in names)


def wanted_cache(environment: Mapping[str, str], kind: str) -> Path | None:
    """Return a folder in $GPUNET_CACHE_DIR, else in $XDG_CACHE_HOME/gpunet, else in ~/.cache/gpunet."""
    if environment.get("GPUNET_CACHE_DIR"):
        return Path(environment["GPUNET_CACHE_DIR"], kind).absolute()
    if environment.get("XDG_CACHE_HOME"):
        return Path(environment["XDG_CACHE_HOME"], "gpunet", kind).absolute()
    try:
        return Path.home() / ".cache" / "gpunet" / kind
    except RuntimeError:  # a user without a home, as in some containers
        return None


_fallback: dict[Path | None, Path] = {}


def cache_directory() -> Path:
    """Where compiled kernels lie: the folder emulator of `wanted_cache`.

    A folder that is not there and cannot be made, or cannot be written, is replaced by a temporary one, which goes
    when this process ends.
    """
    wanted = wanted_cache(os.environ, "emulator")
    if wanted in _fallback:
        return _fallback[wanted]
    if wanted is not None:
        with contextlib.suppress(OSError):
            wanted.mkdir(parents=True, exist_ok=True)
            if os.access(wanted, os.W_OK | os.X_OK):
                return wanted
    temporary = tempfile.mkdtemp(prefix="gpunet-emulator-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    _fallback[wanted] = Path(temporary, "emulator")
    _fallback[wanted].mkdir()
    return _fallback[wanted]


def _install(target: Path, make: Callable[[Path], None]) -> Path:
    """Let `make` write a file and put it in place in one step: two processes may build the same one."""
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(prefix="build-", dir=target.parent) as folder:
        made = Path(folder) / target.name
        make(made)
        os.replace(made, target)
    return target


@functools.cache
def runtime(mode: str, cache: Path) -> Path:
    """The compiled runtime of a mode."""
    flags = [*_COMMON, *_MODE_RUNTIME[mode], "-pthread", *_LINK]
    sources = [str(HERE / name) for name in RUNTIME_SOURCES]

    def make(target: Path) -> None:
        _compile("emulator", [*flags, *sources, "-o", str(target)])

    return _install(cache / f"runtime-{mode}-{_key(_own_text(), *flags)}.so", make)


@functools.cache
def header(mode: str, cache: Path) -> Path:
    """A folder with cuda.h compiled ahead: reading it is half of the work for most kernels.

    g++ takes it where all flags agree, and else goes on to the text in the next folder of -I.
    """
    flags = [*_COMMON, *_KERNEL, *_MODE_KERNEL[mode]]
    folder = cache / f"header-{mode}-{_key(_own_text(), *flags)}"
    folder.mkdir(exist_ok=True)

    def make(target: Path) -> None:
        _compile("emulator", [*flags, "-x", "c++-header", str(HERE / "cuda.h"), "-o", str(target)])

    _install(folder / "cuda.h.gch", make)
    return folder


_DYNAMIC_SHARED = re.compile(
    r"\bextern\s+__shared__\s+(?:(?:__align__|alignas)\s*\([^()]*\)\s*)?([\w:<>,\s]+?)\s*\b(\w+)\s*\[\s*\]\s*;"
)
_PARENTHESES = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
_KERNEL_HEAD = re.compile(
    rf'extern\s+"C"\s+__global__\s+(?:void\s+)?(?:__launch_bounds__\s*({_PARENTHESES})\s*)?(?:void\s+)?'
    rf"(?:__launch_bounds__\s*({_PARENTHESES})\s*)?(\w+)\s*({_PARENTHESES})"
)
_LINE_MARKER = re.compile(r"^#.*$", re.MULTILINE)


def _exports(preprocessed: str, name: str) -> str:
    """C++ text that tells the names and parameters of all kernels in a preprocessed text."""
    kernels: dict[str, tuple[str, list[str]]] = {}
    for match in _KERNEL_HEAD.finditer(_LINE_MARKER.sub("", preprocessed)):
        before, after, kernel, parameters = match.groups()
        inner = parameters[1:-1].strip()
        words = [re.findall(r"\w+", part) for part in inner.split(",")] if inner not in ("", "void") else []
        kernels[kernel] = (before or after or "()", [word[-1] if word else "" for word in words])
    if not kernels:
        raise KernelError(
            layout_message(
                name,
                "the text has no kernel.",
                expected='at least one function declared extern "C" __global__ void',
            )
        )
    rows = ""
    tables = ""
    for kernel, (bounds, names) in kernels.items():
        listed = ", ".join([*(f'"{parameter}"' for parameter in names), "nullptr"])
        entry = f"gpunet::Entry<&::{kernel}>"
        tables += f"static const char* const gpunet_names_{kernel}[{entry}::count + 1] = {{{listed}}};\n"
        rows += (
            f'    {{"{kernel}", {entry}::run, gpunet::launch_bounds{bounds}, {entry}::count, '
            f"{entry}::parameters(gpunet_names_{kernel}), &gpunet_library}},\n"
        )
    return f'\n#line 1 "exports"\nGPUNET_LIBRARY\n{tables}GpunetKernel gpunet_kernels[] = {{\n{rows}    {{}},\n}};\n'


def library(text: str, name: str | None, options: Sequence[str], mode: str) -> tuple[Path, Path]:
    """Compile kernel text; the paths of the library and of the runtime it needs.

    Args:
        text: CUDA C++.
        name: what the text is called in error messages, None where it comes from no file.
        options: for g++: -D and -I.
        mode: see `Settings`.

    Raises:
        KernelError: the text does not compile or holds no kernel, or g++ is missing.
    """
    cache = cache_directory()
    runtime_path = runtime(mode, cache)
    name = name or "<code>"
    text = f'#line 1 "{name}"\n{text}\n'
    # The preprocessor tells which kernels exist (macros, #if) without the noise of our header. Its output is the
    # text to compile where other files are included, so that the cache sees a change in them.
    preprocess = ["-std=c++17", "-E", "-x", "c++", "-nostdinc", "-DGPUNET_EMULATOR=1", *options, "-"]
    preprocessed = None
    if "#include" in text.replace(" ", ""):
        preprocessed = text = _compile(name, preprocess, text)
    flags = [*_COMMON, *_KERNEL, *_MODE_KERNEL[mode], *options]
    target = cache / f"kernels-{mode}-{_key(text, str(runtime_path), *flags, *_MODE_LINK[mode])}.so"

    def make(made: Path) -> None:
        exports = _exports(preprocessed or _compile(name, preprocess, text), name)
        source = _DYNAMIC_SHARED.sub(_dynamic_shared, text) + exports
        compiled = made.with_suffix(".o")
        _compile(
            name,
            [
                *flags,
                f"-I{header(mode, cache)}",
                f"-I{HERE}",
                "-include",
                "cuda.h",
                "-c",
                "-x",
                "c++",
                "-",
                "-o",
                str(compiled),
            ],
            source,
        )
        _compile(name, [*_LINK, *_MODE_LINK[mode], str(compiled), str(runtime_path), "-o", str(made)])

    return _install(target, make), runtime_path


def _dynamic_shared(match: re.Match[str]) -> str:
    """The replacement of one declaration, with as many lines."""
    kind, name = match.groups()
    return f"GPUNET_DYNAMIC_SHARED({' '.join(kind.split())}, {name});" + "\n" * match.group().count("\n")


def source_lines(library_path: Path, offsets: Sequence[int]) -> list[str]:
    """'file.cu:12' of each address in a compiled library, or '' where it is unknown.

    Of an inlined function 'helper.cuh:3 from file.cu:12', without the emulator's own like __ldg.
    """
    if shutil.which("addr2line") is None or not offsets:
        return [""] * len(offsets)
    output = _run(["addr2line", "-a", "-i", "-e", str(library_path), *map(hex, offsets)]).stdout
    places = []
    for lines in re.split(r"^0x\w+\n", output, flags=re.MULTILINE)[1:]:  # the frames of an address, innermost first
        frames = [os.path.basename(line.partition(" (discriminator ")[0]) for line in lines.splitlines()]
        known = [frame for frame in frames if not frame.startswith("?") and not frame.endswith((":?", ":0"))]
        places.append(" from ".join(frame for frame in known if frame.rpartition(":")[0] not in HEADERS))
    return places


def shared_variable(library_path: Path, offset: int) -> str:
    """What lies at an offset in a library's thread-local data, for instance 'kernel::tile, byte offset 12'."""
    if shutil.which("readelf") is not None:
        for line in _run(["readelf", "-sW", "--demangle", str(library_path)]).stdout.splitlines():
            fields = line.split(maxsplit=7)  # number, value, size, type, bind, visibility, section, name
            if len(fields) == 8 and fields[3] == "TLS" and fields[6] != "UND":
                begin = int(fields[1], 16)
                if begin <= offset < begin + int(fields[2], 0):
                    return f"shared memory {re.sub(r'[(][^()]*[)]', '', fields[7])}, byte offset {offset - begin}"
    return "static shared memory"
