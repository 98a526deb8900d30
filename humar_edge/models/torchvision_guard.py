"""Makes timm and transformers importable beside a torchvision whose compiled part does not load.

Package indexes serve torchvision built for CUDA; beside a CPU build of PyTorch its extension finds no CUDA
libraries, and `import torchvision` then fails while registering shape functions for operators that are missing
("operator torchvision::nms does not exist"). Nothing here uses those operators: timm and transformers only need the
Python part (transforms, feature extraction).
"""

from __future__ import annotations

import sys
from types import ModuleType

_REGISTRATIONS = ("torchvision._meta_registrations", "torchvision._autograd_registrations")
"""Modules of torchvision that do nothing but register functions for its compiled operators."""


def guard_torchvision() -> None:
    """Import torchvision, without its operator registrations if its compiled part does not load.

    Call it before importing timm or transformers. It does nothing where torchvision works or is not installed.
    """
    try:
        import torchvision
    except ImportError:
        return
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in _REGISTRATIONS:
            sys.modules[name] = ModuleType(name)
        import torchvision  # noqa: F401
