"""The run of a GPU: probe, compile, check, and time each op beside PyTorch and CuPy. `python -m bench.gpu --help`."""
