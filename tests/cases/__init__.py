"""Every op's Cases, by family: small odd shapes, so that swapped axes show.

`launches` fixes what a GPU would be asked to do. SPECIALS prove of kernels what a Case cannot say. A file added to this
folder is found by itself.
"""

import importlib
import pkgutil

_families = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]

CASES = [case for family in _families for case in getattr(family, "CASES", ())]
SPECIALS = [special for family in _families for special in getattr(family, "SPECIALS", ())]
