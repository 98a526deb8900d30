"""Imports timm beside any build of torch.

timm imports torchvision, and torchvision's binary wheels fail to import beside a build of torch they were not made
for (CPU torch with the CUDA wheel is the usual case): their compiled operators are missing, and the registrations of
their shapes raise. timm uses none of these operators, so declaring their names is enough.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType

import torch

_DECLARED: list[torch.library.Library] = []  # a library's declarations live as long as the object
_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")


def import_timm() -> ModuleType:
    """Return the timm module.

    Raises:
        ImportError: timm is not installed.
        RuntimeError: torchvision fails for another reason than missing operators.
    """
    declared: set[str] = set()
    while True:
        try:
            import torchvision  # noqa: F401
        except RuntimeError as error:
            missing = _MISSING.search(str(error))
            if missing is None or missing[1] in declared:
                raise
            declared.add(missing[1])
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(f"{missing[1]}(Tensor x) -> Tensor")
            _DECLARED.append(library)
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            continue
        break
    import timm

    return timm
