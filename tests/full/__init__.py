"""Runs that prove much and take long, with committed results: `python -m tests.full --help`."""
