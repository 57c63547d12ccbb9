"""Benchmarks that set CPU beside GPU: `python -m bench --help`, and README.md in this folder."""
