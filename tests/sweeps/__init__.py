"""What hypothesis draws for each op, by family. A file added to this folder is found by itself."""

import importlib
import pkgutil

_families = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]

SWEEPS = [sweep for family in _families for sweep in family.SWEEPS]
