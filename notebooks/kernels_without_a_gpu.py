# %% [markdown]
# # CUDA kernels, proven without a GPU
#
# A **kernel** is a function that a GPU runs in thousands of threads at once. It is short, and hard to get right: the
# threads work in an order that nobody chose, so a missing barrier may give the right answer a thousand times before it
# gives a wrong one. gpunet executes the same CUDA text on the CPU, thread by thread, and watches every access to
# memory.
#
# In this notebook we write a kernel, break it in the two classic ways, and see both mistakes found, with file and line.
# It needs g++ on Linux, and no GPU.

# %%
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from gpunet import emulator
from gpunet.backend import nvrtc
from gpunet.errors import KernelError

assert emulator.unavailable() is None, emulator.unavailable()


def show(code, *marked):
    """Print a text with the numbers of its lines; an arrow marks some."""
    for number, line in enumerate(code.splitlines(), start=1):
        print(f"{'->' if number in marked else '  '}{number:3}  {line}")


# %% [markdown]
# ## A sum, by many hands
#
# To add up n numbers, a block of 256 threads halves them again and again: first thread *t* adds number *t + 128* to
# number *t*, then number *t + 64*, and so on; eight rounds later, number 0 is the sum. The numbers lie in **shared
# memory**, which the threads of one block have in common. Before a round may begin, the round before must be over in
# *all* threads: that is what `__syncthreads()`, the barrier, waits for.

# %%
figure, axes = plt.subplots(figsize=(8, 3.4))
width = 16
for level in range(5):
    active = width >> level
    axes.scatter(range(width), [-level] * width, s=190, c=["tab:green" if t < active else "0.9" for t in range(width)])
    for t in range(active // 2):
        for start in (t, t + active // 2):
            axes.annotate(
                "",
                (t, -level - 0.82),
                (start, -level - 0.18),
                arrowprops={"arrowstyle": "->", "color": "0.4", "lw": 0.8},
            )
    if level:
        axes.axhline(0.5 - level, color="tab:red", lw=0.8, ls="--")
        axes.text(width - 0.3, 0.52 - level, "barrier", color="tab:red", fontsize=8, va="bottom", ha="right")
axes.set(xlabel="place in shared memory", yticks=[], xticks=range(width), ylim=(-4.5, 0.4))
axes.set_title("sixteen numbers, four rounds", fontsize=10, pad=10)
for side in ("top", "left", "right"):
    axes.spines[side].set_visible(False)
plt.show()

# %%
BLOCK_SUM = """\
// Each block adds up blockDim.x (a power of two, at most 256) of the n numbers.
extern "C" __global__ void block_sum(float* sums, const float* x, int n) {
    __shared__ float s[256];
    int t = threadIdx.x;
    int i = blockIdx.x * blockDim.x + t;
    s[t] = i < n ? x[i] : 0.0f;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) s[t] += s[t + half];
        __syncthreads();
    }
    if (t == 0) sums[blockIdx.x] = s[0];
}
"""
rng = np.random.default_rng(0)
x = rng.standard_normal(1000).astype(np.float32)
BLOCKS, THREADS = 4, 256  # the last block has 24 threads too many: hence i < n


def add_up(module):
    """Launch the kernel as with cupy.RawModule, and add up what the blocks found."""
    sums = np.zeros(BLOCKS, np.float32)
    module.get_function("block_sum")((BLOCKS,), (THREADS,), (sums, x, len(x)))
    return sums.sum()


right = add_up(emulator.RawModule(code=BLOCK_SUM))
print(f"kernel {right:.5f}, NumPy {x.sum():.5f}")
assert np.isclose(right, x.sum(dtype=np.float64), rtol=1e-5)

# %% [markdown]
# ## Plant a race
#
# Now the barrier inside the loop goes. On a GPU this kernel often works: the 32 threads of a warp tend to go together,
# and a fast block hides the mistake. The emulator may run the threads in any order that CUDA allows. With a correct
# kernel, the order changes nothing, down to the last bit. With this one it does.

# %%
RACY = BLOCK_SUM.replace("half];\n        __syncthreads();\n", "half];\n")
assert RACY.count("__syncthreads") == BLOCK_SUM.count("__syncthreads") - 1

orders = [("forward", 0), ("reverse", 0), *(("random", seed) for seed in range(10))]
results = {}
for name, code in (("with barrier", BLOCK_SUM), ("without", RACY)):
    module = emulator.RawModule(code=code)
    results[name] = []
    for schedule, seed in orders:
        with emulator.configure(schedule=schedule, seed=seed):
            results[name].append(add_up(module))

figure, axes = plt.subplots(figsize=(8, 2.6), layout="constrained")
axes.plot(results["without"], "x", color="tab:red", ms=8, label="without barrier")
axes.plot(results["with barrier"], "o", color="tab:green", label="with barrier")
axes.set(ylabel="sum", xticks=range(len(orders)))
axes.set_xticklabels([schedule if schedule != "random" else f"random {seed}" for schedule, seed in orders], rotation=30)
axes.grid(alpha=0.3)
axes.legend()
plt.show()
assert len(set(results["with barrier"])) == 1 and len(set(results["without"])) > 3
assert results["without"][orders.index(("reverse", 0))] == right

# %% [markdown]
# In reverse order the sum is right even so: a test with only this one order would have passed. And different answers
# say *that* something is wrong, not *where*. Mode `race` does. It remembers for every byte who touched it since the
# last barrier; two threads, one of them writing, and no barrier between them: that is a race, even in an order where
# it happens to end well.

# %%
try:
    add_up(emulator.RawModule(code=RACY, mode="race"))
except KernelError as error:
    found = str(error)
print(textwrap.fill(found, 110), end="\n\n")
show(RACY, 9)
assert "race in shared memory block_sum::s" in found and "<code>:9" in found

assert add_up(emulator.RawModule(code=BLOCK_SUM, mode="race")) == right  # no complaint: the barriers order all of it

# %% [markdown]
# ## Write out of bounds
#
# The other classic: one thread too many. This kernel smooths a line of numbers, and its guard says `>` where it should
# say `>=`. Thread *n* then writes one number behind the end of `y`. On a GPU this usually changes a neighbour's memory,
# and nobody notices.
#
# Mode `asan` compiles the kernel with the address sanitizer, which has to be in a process from its start. The command
# `gpunet kernels check` takes care of that. It reads from a comment in the file how to launch the kernel, and runs it
# in all modes and in several orders.


# %%
def gpunet_kernels(action, name, code):
    """Run `gpunet kernels ACTION NAME.cu` as a shell would; print and return what it says."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{name}.cu")
        file.write_text(code)
        command = [sys.executable, "-m", "gpunet", "kernels", action, str(file)]
        result = subprocess.run(command, capture_output=True, text=True)
    said = result.stdout + result.stderr
    for line in said.splitlines():
        print(textwrap.fill(line, 110, subsequent_indent=" " * 13))
    return said


SMOOTH = """\
// y[i] is the mean of the two neighbours of x[i]; outside is 0.
// launch: smooth<<<4, 256>>>(y=float[1000], x=float[1000], n=1000)
extern "C" __global__ void smooth(float* y, const float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i > n) return;
    float left = i > 0 ? x[i - 1] : 0.0f;
    float right = i + 1 < n ? x[i + 1] : 0.0f;
    y[i] = 0.5f * (left + right);
}
"""
show(SMOOTH, 8)
print()
said = gpunet_kernels("check", "smooth", SMOOTH)
assert "0 bytes after the end of y (4000 bytes) at smooth.cu:8" in said

# %% [markdown]
# With the right guard, and for the sum with its barrier, there is nothing to find.

# %%
REPAIRED = SMOOTH.replace("i > n", "i >= n")
LAUNCH = "// launch: block_sum<<<4, 256>>>(sums=float[4], x=float[1000], n=1000)\n"
assert "findings: 0" in gpunet_kernels("check", "smooth", REPAIRED)
assert "findings: 0" in gpunet_kernels("check", "block_sum", LAUNCH + BLOCK_SUM)

# %% [markdown]
# ## Compile for GPUs that are not here
#
# NVIDIA's compiler NVRTC is a Python wheel and needs no GPU either. For each generation, here from T4 (75) by A100 (80)
# and H100 (90) to RTX 50 (120), it says how many registers a thread will use: they limit how many threads run at a
# time. **Spills** are registers that did not fit and went to slow memory; gpunet treats them as an error.

# %%
if nvrtc.unavailable():
    print(f"skipped: {nvrtc.unavailable()}")
else:
    assert "none spills" in gpunet_kernels("compile", "block_sum", BLOCK_SUM)

# %% [markdown]
# ## From here to a GPU
#
# `cupy.RawModule(code=BLOCK_SUM)` takes the same text, and its kernels the same call. What the emulator cannot show is
# speed, and the weaker order in which a GPU's memory may see writes; for the rest, a kernel that passes here with
# ragged sizes, in all orders and modes, has little left to surprise you with.
#
# Without a file, `gpunet kernels check` and `gpunet kernels compile` take gpunet's own kernels.
#
# Try: move the barrier of the loop *before* the addition: which other one can go now? Let only `if (t < half)` reach
# the barrier (mode `race` knows that mistake, too). Launch with 96 threads and find out what the comment on top is for.
