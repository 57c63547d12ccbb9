"""Every op's Cases, by family: small odd shapes, so that swapped axes show.

`launches` fixes what a GPU would be asked to do. SPECIALS prove of kernels what a Case cannot say.
"""

from tests.cases import conv, copy, elementwise, linear, loss, optim, pool, random, reduce, shape

CASES = [
    case for family in (elementwise, reduce, shape, linear, conv, pool, loss, optim, random) for case in family.CASES
]
SPECIALS = [special for family in (copy, pool, random) for special in family.SPECIALS]
