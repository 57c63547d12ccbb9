"""What hypothesis draws for each op, by family."""

from tests.sweeps import conv, elementwise, linear, loss, optim, pool, reduce, shape

SWEEPS = [sweep for family in (elementwise, reduce, shape, linear, conv, pool, loss, optim) for sweep in family.SWEEPS]
