from __future__ import annotations

import threading

import pytest

from gpunet.emulator import Settings, configure, settings
from gpunet.errors import KernelError


def test_configure_nests_and_restores():
    outside = settings()
    with configure(schedule="random", seed=5):
        with configure(seed=6, workers=2) as inner:
            assert settings() is inner == Settings(outside.mode, "random", 6, 2)
        assert settings() == Settings(outside.mode, "random", 5, outside.workers)
    assert settings() == outside


def test_configure_restores_after_an_exception():
    outside = settings()
    with pytest.raises(ZeroDivisionError), configure(schedule="reverse"):
        _ = 1 / 0
    assert settings() == outside


def test_configure_holds_for_its_own_python_thread():
    seen = []
    with configure(seed=9):
        thread = threading.Thread(target=lambda: seen.append(settings().seed))
        thread.start()
        thread.join()
        assert settings().seed == 9
    assert seen == [settings().seed]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mode": "quick"}, "expected 'fast' or 'race' or 'banks' or 'asan', got 'quick'"),
        ({"schedule": "backward"}, "expected 'forward' or 'reverse' or 'random', got 'backward'"),
        ({"seed": -1}, "expected an integer from 0 to 2**32 - 1, got -1"),
        ({"seed": 1.5}, "got 1.5"),
        ({"workers": 0}, "expected an integer from 1 to 256, or None for one per CPU, got 0"),
        ({"workers": True}, "got True"),
        ({"speed": 1}, "there is no setting 'speed'"),
    ],
)
def test_configure_refuses_bad_values(changes, text):
    outside = settings()
    with pytest.raises(KernelError) as error, configure(**changes):
        pass
    assert text in str(error.value)
    assert settings() == outside


def test_environment_gives_the_defaults():
    found = Settings.from_environment(
        {
            "GPUNET_EMULATOR_MODE": "race",
            "GPUNET_EMULATOR_SCHEDULE": " reverse ",
            "GPUNET_EMULATOR_SEED": "7",
            "GPUNET_EMULATOR_WORKERS": "3",
        }
    )
    assert found == Settings("race", "reverse", 7, 3)
    assert Settings.from_environment({"GPUNET_EMULATOR_SEED": ""}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("GPUNET_EMULATOR_SEED", "one", "the environment variable GPUNET_EMULATOR_SEED has a bad value"),
        ("GPUNET_EMULATOR_WORKERS", "2.0", "expected an integer, got '2.0'"),
        ("GPUNET_EMULATOR_MODE", "slow", "environment variable GPUNET_EMULATOR_MODE"),
    ],
)
def test_environment_with_a_bad_value_is_one_clear_error(variable, value, text):
    with pytest.raises(KernelError) as error:
        Settings.from_environment({variable: value})
    assert text in str(error.value)
