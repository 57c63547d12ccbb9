"""The command line: what it prints, which files it leaves, which exit codes it gives."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import data, io, models, viz
from gpunet.backend import cupy
from gpunet.cli.main import main
from gpunet.ops import choices
from tests.harness.backends import missing


def gpunet_train(*arguments):
    return main(["train", "--quiet", "--device", "cpu", "--model", "tiny", "--limit", "128", *map(str, arguments)])


def test_a_run_leaves_its_folder_and_ends_with_the_accuracy(tmp_path, capsys):
    out = tmp_path / "run"
    assert gpunet_train("--epochs", 2, "--out", out) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("test accuracy ")
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "confusion.png",
        "curves.png",
        "filters.png",
        "metrics.jsonl",
        "model.safetensors",
    ]
    config = json.loads((out / "config.json").read_text())
    assert (config["model"], config["device"], config["seed"], config["epochs"]) == ("tiny", "cpu", 0, 2)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert 0 <= rows[1]["test_accuracy"] <= 1 and rows[1]["train_loss"] < rows[0]["train_loss"]
    tensors, metadata = io.load_file(out / "model.safetensors")
    model = models.TinyCNN()
    model.load_state_dict(tensors)
    assert metadata["epoch"] == "2"
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.glob("*.png"))


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.05), ("adam", 1e-3), ("adamw", 1e-3)])
def test_each_optimizer_has_its_own_learning_rate_and_learns(tmp_path, optimizer, rate):
    assert gpunet_train("--epochs", 2, "--optimizer", optimizer, "--model", "lenet5", "--out", tmp_path / "run") == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["optimizer"], config["lr"]) == (optimizer, rate)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[1]["train_loss"] < rows[0]["train_loss"]


def test_the_plots_show_the_test_set_and_the_first_convolution(tmp_path, monkeypatch):
    seen = {}
    for name in ("save_confusion", "save_filters"):
        monkeypatch.setattr(viz, name, lambda value, path, name=name: seen.update({name: value}))
    assert gpunet_train("--epochs", 1, "--out", tmp_path / "cnn") == 0
    metrics = json.loads((tmp_path / "cnn" / "metrics.jsonl").read_text())
    counts, weight = seen["save_confusion"], seen["save_filters"]
    assert counts.shape == (10, 10) and counts.sum() == 128
    targets = np.bincount(data.MNIST(train=False)[:128][1], minlength=10)
    assert np.array_equal(counts.sum(axis=1), targets)
    assert np.trace(counts) / 128 == metrics["test_accuracy"]
    assert weight.shape == (4, 1, 3, 3)
    saved = io.load_file(tmp_path / "cnn" / "model.safetensors")[0]["conv1.weight"]
    assert np.array_equal(weight.detach().numpy(), saved)


def test_a_network_without_convolution_has_no_filters(tmp_path):
    assert gpunet_train("--epochs", 1, "--model", "mlp", "--out", tmp_path / "run") == 0
    assert (tmp_path / "run" / "confusion.png").exists() and not (tmp_path / "run" / "filters.png").exists()


def test_without_matplotlib_a_run_has_no_plots(tmp_path, monkeypatch):
    monkeypatch.setattr(viz, "available", lambda: False)
    assert gpunet_train("--epochs", 1, "--out", tmp_path / "run") == 0
    assert sorted(path.suffix for path in (tmp_path / "run").iterdir()) == [".json", ".jsonl", ".safetensors"]


def test_the_same_seed_gives_the_same_weights(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert gpunet_train("--epochs", 1, "--seed", seed, "--out", tmp_path / name) == 0
    a, b, c = (io.load_file(tmp_path / name / "model.safetensors")[0] for name in "abc")
    assert all(np.array_equal(a[key], b[key]) for key in a)
    assert not all(np.array_equal(a[key], c[key]) for key in a)


def test_augmentation_changes_the_run_and_is_recorded(tmp_path):
    assert gpunet_train("--epochs", 1, "--out", tmp_path / "plain") == 0
    assert gpunet_train("--epochs", 1, "--augment", "invert", "--out", tmp_path / "a") == 0
    assert gpunet_train("--epochs", 1, "--augment", "invert", "--out", tmp_path / "b") == 0
    plain, a, b = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "a", "b"))
    assert a == b != plain
    assert json.loads((tmp_path / "a" / "config.json").read_text())["augment"] == "invert"


def test_the_full_data_set_is_read_from_a_folder(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        data.write_idx(tmp_path / f"{part}-images-idx3-ubyte", rng.integers(0, 255, (count, 28, 28)).astype(np.uint8))
        data.write_idx(tmp_path / f"{part}-labels-idx1-ubyte", rng.integers(0, 10, count).astype(np.uint8))
    assert gpunet_train("--epochs", 1, "--data", tmp_path, "--out", tmp_path / "run") == 0
    assert "40 + 20 images to train and test" in capsys.readouterr().out


def test_a_module_of_the_current_folder_is_a_model(tmp_path, monkeypatch, capsys):
    (tmp_path / "mynets.py").write_text(
        "from gpunet import nn\nclass Net(nn.Sequential):\n"
        "    def __init__(self):\n        super().__init__(nn.Flatten(), nn.Linear(784, 10))\nnot_a_net = 3\n"
        "class Sized(Net):\n    def __init__(self, size):\n        super().__init__()\n"
    )
    monkeypatch.chdir(tmp_path)
    assert gpunet_train("--epochs", 1, "--model", "mynets:Net", "--out", "run") == 0
    assert gpunet_train("--model", "mynets:not_a_net", "--out", "run2") == 1
    capsys.readouterr()
    assert gpunet_train("--model", "mynets:Sized", "--out", "run2") == 1
    assert (
        "mynets:Sized cannot be built without arguments: missing a required argument: 'size'" in capsys.readouterr().err
    )


ERRORS = [
    (["--model", "resnet"], "there is no model 'resnet'"),
    (["--model", "no.such:Net"], "cannot import 'no.such'"),
    (["--model", ".nets:Net"], "there is no model '.nets:Net'"),
    (["--model", ":Net"], "there is no model ':Net'"),
    (["--data", "/nowhere"], "/nowhere"),
    (["--device", "tpu"], "there is no device 'tpu'"),
    (["--seed", "-1"], "seed"),
    (["--out", "/proc/gpunet/run"], "/proc/gpunet"),
    (["--lr", "1e30", "--epochs", "1"], "hint: use a smaller learning rate"),
]


@pytest.mark.parametrize(("arguments", "text"), ERRORS, ids=[" ".join(e[0]) for e in ERRORS])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the overflow of a learning rate of 1e30
def test_an_error_is_one_message_and_exit_code_1(tmp_path, monkeypatch, capsys, arguments, text):
    monkeypatch.chdir(tmp_path)
    assert gpunet_train(*arguments) == 1
    message = capsys.readouterr().err
    assert message.startswith("gpunet: ") and text in message and "Traceback" not in message


@pytest.mark.parametrize(
    "arguments", [["--epochs", "0"], ["--lr", "nan"], ["--batch-size", "x"], ["--augment", "x"], ["--what"]], ids=str
)
def test_wrong_usage_is_exit_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        gpunet_train(*arguments)
    assert stop.value.code == 2 and "usage: gpunet" in capsys.readouterr().err


def test_an_existing_run_is_not_overwritten(tmp_path, capsys):
    assert gpunet_train("--epochs", 1, "--out", tmp_path) == 0
    before = (tmp_path / "model.safetensors").read_bytes()
    assert gpunet_train("--epochs", 1, "--seed", 9, "--out", tmp_path) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_truncated_data_set_is_one_error(tmp_path, capsys):
    for part in ("train", "t10k"):
        data.write_idx(tmp_path / f"{part}-images-idx3-ubyte", np.zeros((3, 28, 28), np.uint8))
        data.write_idx(tmp_path / f"{part}-labels-idx1-ubyte", np.zeros(3, np.uint8))
    images = tmp_path / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-5])
    assert gpunet_train("--data", tmp_path, "--out", tmp_path / "run") == 1
    assert "FormatError" in (message := capsys.readouterr().err) and "train-images-idx3-ubyte" in message


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"gpunet {gpunet.__version__}\n"
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert gpunet.__version__ == project["version"]


@pytest.fixture
def children_take_sigint():
    """Undo what a shell does to a test run in the background: it, and so each child, ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("children_take_sigint")
def test_ctrl_c_keeps_the_checkpoint_of_the_last_finished_epoch(tmp_path):
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "gpunet",
        "train",
        "--model",
        "mlp",
        "--device",
        "cpu",
        "--epochs",
        "1000",
        "--quiet",
    ]
    process = subprocess.Popen(
        [*command, "--limit", "2000", "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (out / "model.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()  # where the signal did not end it
    assert process.returncode == 130
    tensors, metadata = io.load_file(out / "model.safetensors")
    done = int(metadata["epoch"])
    assert f"interrupted in epoch {done + 1}; the weights of epoch {done} are in" in err and "Traceback" not in err
    assert len((out / "metrics.jsonl").read_text().splitlines()) == done
    models.MLP().load_state_dict(tensors)


def test_an_interrupt_between_weights_and_metrics_loses_neither(tmp_path, monkeypatch, capsys):
    write = io.write_text_atomic
    calls = iter([KeyboardInterrupt()])

    def interrupted_once(path, text):
        if fault := next(calls, None):
            raise fault
        write(path, text)

    monkeypatch.setattr(io, "write_text_atomic", interrupted_once)
    assert gpunet_train("--epochs", 3, "--out", tmp_path / "run") == 130
    assert "the weights of epoch 1 are in" in capsys.readouterr().err
    assert io.load_file(tmp_path / "run" / "model.safetensors")[1]["epoch"] == "1"
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1


def test_training_runs_on_the_emulated_device(tmp_path):
    from gpunet import emulator

    if emulator.unavailable():
        missing("emulated", emulator.unavailable())
    arguments = ["train", "--device", "emulated", "--model", "tiny", "--limit", "256", "--epochs", "1"]
    result = subprocess.run(
        [sys.executable, "-m", "gpunet", *arguments, "--out", str(tmp_path / "run")], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].startswith("test accuracy ")
    assert "epoch 1/1: 100%" in result.stderr
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_the_doctor_names_what_is_missing_and_the_fix(capsys, monkeypatch):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    for word in (
        "numpy",
        "blas",
        "kernels",
        "device cpu",
        "device cuda",
        "device emulated",
        "nvrtc",
        str(gpunet.__version__),
    ):
        assert word in text
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr(cupy, "unavailable", lambda: "CuPy is not installed")
    assert main(["doctor"]) == 0
    assert '-- device cuda       CuPy is not installed: pip install "gpunet[cuda12]"' in capsys.readouterr().out


def test_the_doctor_says_which_table_chooses_kernels(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("GPUNET_CHOICES", str(tmp_path / "mine.toml"))
    monkeypatch.setattr(cupy, "unavailable", lambda: "CuPy is not installed")
    for text, line in (
        (
            'gemm = [{ kernel = "plain" }]',
            r"ok choices           [0-9a-f]{16}, on emulated: .*mine.toml before the shipped",
        ),
        ("", r"ok choices           [0-9a-f]{16}, on emulated: the shipped table"),
        ("gem = []", r"-- choices           .*mine.toml: there is no op 'gem'\. expected gemm, conv_forward"),
    ):
        monkeypatch.setattr(choices, "_tables", {})
        (tmp_path / "mine.toml").write_text(text)
        assert main(["doctor"]) == 0
        assert re.search(f"^{line}", capsys.readouterr().out, re.MULTILINE), text


@pytest.mark.parametrize("action", [["kernels", "list"], ["doctor"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_error(action):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as closed:
        command = [sys.executable, "-m", "gpunet", *action]
        result = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (1, "")


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text and "--device emulated" in text and "default: 0.05" in text
