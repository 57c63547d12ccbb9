"""What hypothesis draws for each op, by family."""

from tests.sweeps import conv, elementwise, linear, loss, optim, pool, random, reduce, shape

SWEEPS = [
    sweep for family in (elementwise, reduce, shape, linear, conv, pool, loss, optim, random) for sweep in family.SWEEPS
]
