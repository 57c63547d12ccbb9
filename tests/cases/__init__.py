"""Every op's Cases, by family: small odd shapes, so that swapped axes show.

`launches` fixes what a GPU would be asked to do.
"""

from tests.cases import conv, elementwise, linear, loss, optim, pool, reduce, shape

CASES = [case for family in (elementwise, reduce, shape, linear, conv, pool, loss, optim) for case in family.CASES]
