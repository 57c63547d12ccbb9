"""Every plot is a file that is whole or not at all, and says what is missing."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet
from gpunet import viz
from gpunet.viz import figure

ROW = {"epoch": 1, "train_loss": 0.3, "test_loss": 0.2, "test_accuracy": 0.97}
PLOTS = {
    "save_curves": lambda path: viz.save_curves([ROW], path),
    "save_confusion": lambda path: viz.save_confusion(np.eye(3, dtype=int), path),
    "save_filters": lambda path: viz.save_filters(np.ones((2, 1, 3, 3)), path),
    "save_images": lambda path: viz.save_images(np.ones((2, 5, 5)), path),
    "save_tape": lambda path: viz.save_tape(gpunet.tensor([1.0], requires_grad=True).relu(), path),
}


@pytest.fixture(params=PLOTS)
def plot(request):
    return request.param


def test_every_save_function_is_tested():
    assert set(PLOTS) == {name for name in viz.__all__ if name.startswith("save_")}


def test_a_plot_replaces_the_old_file(plot, tmp_path):
    path = tmp_path / "plot.png"
    path.write_text("old")
    PLOTS[plot](path)
    assert path.read_bytes().startswith(b"\x89PNG") and path.read_bytes().endswith(b"IEND\xaeB`\x82")
    assert list(tmp_path.iterdir()) == [path]


def test_a_plot_that_fails_leaves_the_old_file_and_nothing_else(plot, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def half(self, file, **options):
        file.write(b"half a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", half)
    path = tmp_path / "plot.png"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        PLOTS[plot](path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_plot_without_matplotlib_says_how_to_get_it(plot, tmp_path, no_matplotlib):
    with pytest.raises(ImportError) as error:
        PLOTS[plot](tmp_path / "plot.png")
    assert str(error.value) == f"{plot}: plots need matplotlib\n  hint: pip install matplotlib"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_an_error_that_names_the_file(plot, tmp_path):
    with pytest.raises(OSError, match=r"nowhere/plot\.png"):
        PLOTS[plot](tmp_path / "nowhere" / "plot.png")


def test_host_takes_tensors_arrays_of_any_backend_and_lists(be):
    values = np.array([[1.0, 2.0]])
    array = be.from_numpy(values)
    for given in (array, gpunet.Tensor(array), gpunet.Tensor(array, requires_grad=True), values.tolist()):
        assert type(figure.host(given)) is np.ndarray and figure.host(given).tolist() == values.tolist()
