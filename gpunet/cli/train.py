"""`gpunet train`: train a classifier from the shell."""

from __future__ import annotations

import argparse
import datetime
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpunet
from gpunet import backend, data, models, optim, train
from gpunet.nn import Module
from gpunet.tensor import Tensor

__all__ = ["add_parser"]

MODELS: dict[str, Callable[[], Module]] = {
    "cnn": models.CNN,
    "mlp": models.MLP,
    "lenet5": models.LeNet5,
    "tiny": models.TinyCNN,
}

# Learning rate by default, and what builds the optimizer.
OPTIMIZERS: dict[str, tuple[float, Callable[[Any, argparse.Namespace], optim.Optimizer]]] = {
    "sgd": (0.05, lambda parameters, options: optim.SGD(parameters, options.lr, options.momentum)),
    "adam": (1e-3, lambda parameters, options: optim.Adam(parameters, options.lr)),
    "adamw": (1e-3, lambda parameters, options: optim.AdamW(parameters, options.lr)),
}

SCHEDULES: dict[str, Callable[[float], float]] = {"linear": lambda done: 1 - done, "constant": lambda done: 1.0}

AUGMENTATIONS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "invert": lambda: data.RandomInvert(black=data.MNIST.black, white=data.MNIST.white)
}

_EPILOG = """\
examples:
  gpunet train                                        the CNN on the MNIST images that come along
  gpunet train --data ~/mnist --epochs 1              the full MNIST, from its four idx files
  gpunet train --augment invert                       digits of any colour: black on white too
  gpunet train --model lenet5 --optimizer adam        the network of 1998, by the optimizer of 2014
  gpunet train --model mypackage.nets:Net --lr 0.01   your own Module, built without arguments
  gpunet train --device emulated --model tiny --limit 256   our CUDA kernels, on the CPU

The run folder holds config.json, metrics.jsonl, model.safetensors and, with matplotlib, curves.png,
confusion.png (of the test images) and filters.png (of the first convolution).
"""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "train",
        help="train a classifier on MNIST",
        description="Train a classifier on MNIST and print its test accuracy.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="cnn", help="cnn, mlp, lenet5, tiny, or module:Class (default: cnn)")
    parser.add_argument(
        "--data", default="mnist", help='"mnist" (the 14,000 images that come along) or a folder of idx files'
    )
    parser.add_argument("--epochs", type=_positive_int, default=4, help="passes over the training data (default: 4)")
    parser.add_argument("--batch-size", type=_positive_int, default=64, help="images per step (default: 64)")
    parser.add_argument("--optimizer", default="sgd", choices=OPTIMIZERS, help="(default: sgd)")
    rates = ", ".join(f"{rate:g} for {name}" for name, (rate, _) in OPTIMIZERS.items())
    parser.add_argument("--lr", type=_positive_float, help=f"learning rate at first (default: {rates})")
    parser.add_argument(
        "--schedule", default="linear", choices=SCHEDULES, help="of the learning rate (default: linear, to 0)"
    )
    parser.add_argument("--augment", choices=AUGMENTATIONS, help="invert: the colours of every other image, at random")
    parser.add_argument("--momentum", type=float, default=0.9, help="momentum of SGD (default: 0.9)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, emulated (default: auto)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, shuffling and augmentation (default: 0)")
    parser.add_argument("--limit", type=_positive_int, help="use only so many images for training, and for the test")
    parser.add_argument("--out", type=Path, help="the run folder (default: runs/<time>)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer >= 1, got {text!r}")
    return int(text)


def _positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number > 0, got {text!r}")
    return value


def run(options: argparse.Namespace) -> int:
    """Train as the options say; the last line of output is the test accuracy in percent."""
    device = backend.device(options.device)
    gpunet.manual_seed(options.seed)
    model = build_model(options.model).to(device)
    images = [dataset(options.data, training, options.limit) for training in (True, False)]
    train_loader = data.DataLoader(images[0], options.batch_size, shuffle=True, device=device)
    test_loader = data.DataLoader(images[1], batch_size=256, device=device)
    default_rate, build_optimizer = OPTIMIZERS[options.optimizer]
    options.lr = default_rate if options.lr is None else options.lr
    optimizer = build_optimizer(model.parameters(), options)
    settings = {key: value for key, value in vars(options).items() if key not in ("run", "command", "out", "quiet")}
    config = {**settings, "device": str(device), "gpunet": gpunet.__version__}
    folder = train.RunFolder(options.out or Path("runs", f"{datetime.datetime.now():%Y-%m-%d-%H%M%S-%f}"), config)
    weights = sum(parameter.numel() for parameter in model.parameters())
    counts = " + ".join(f"{len(part):,}" for part in images)
    print(f"{options.model} with {weights:,} weights on {device}; {counts} images to train and test", flush=True)
    schedule = SCHEDULES[options.schedule]
    try:
        history = train.fit(
            model,
            train_loader,
            test_loader,
            optimizer,
            epochs=options.epochs,
            schedule=schedule,
            augment=AUGMENTATIONS[options.augment]() if options.augment else None,
            run=folder,
            progress=not options.quiet,
        )
    except KeyboardInterrupt:
        if done := len(folder.metrics):
            folder.save_metrics()
        kept = f"the weights of epoch {done} are in {folder.checkpoint}" if done else "no epoch was finished"
        print(f"\ngpunet: interrupted in epoch {done + 1}; {kept}", file=sys.stderr)
        return 130
    print(f"run folder {folder.path}; {sum(row['seconds'] for row in history):.1f} s of training")
    print(f"test accuracy {100 * history[-1]['test_accuracy']:.2f} %")
    return 0


def dataset(name: str, training: bool, limit: int | None) -> Any:
    """Return the training or test images, the first `limit` of them."""
    images = data.MNIST(None if name == "mnist" else name, train=training)
    return images if limit is None else data.Subset(images, range(min(limit, len(images))))


def build_model(name: str) -> Module:
    """Build a model by its short name, or by module:Class.

    >>> type(build_model("gpunet.models:MLP")).__name__
    'MLP'
    """
    if name in MODELS:
        return MODELS[name]()
    module_name, colon, class_name = name.partition(":")
    if not colon or not module_name or module_name.startswith("."):
        raise ValueError(f"there is no model {name!r}\n  expected {', '.join(MODELS)} or module:Class")
    sys.path.insert(0, "")  # a module in the current folder, as with python -m
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ImportError(f"cannot import {module_name!r} for --model {name}: {error}") from error
    finally:
        sys.path.remove("")
    build = getattr(module, class_name, None)
    if not (isinstance(build, type) and issubclass(build, Module)):
        raise ValueError(f"{module_name} has no gpunet.nn.Module called {class_name!r}")
    try:
        inspect.signature(build).bind()
    except TypeError as error:
        raise ValueError(f"{name} cannot be built without arguments: {error}\n  hint: give them defaults") from None
    return build()
