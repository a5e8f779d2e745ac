"""crsdun: joint reconstruction and semantic segmentation from one coded snapshot (CASSI).

light → measurement → cube + classes → someone looks at it:

- ``crsdun.optics`` the camera · ``crsdun.scenes`` cubes, labels and file formats
- ``crsdun.networks`` and ``crsdun.solvers`` measurement → cube (+ classes), learnt and training-free
- ``crsdun.training`` · ``crsdun.evaluation`` · ``crsdun.runtime`` · ``crsdun.viewing``

Importing the package is quick; PyTorch is loaded when a camera, network or solver is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crsdun import evaluation, networks, optics, runtime, scenes, solvers, training, viewing
    from crsdun.errors import InputError
    from crsdun.networks import create, load, save
    from crsdun.optics import CassiCamera, Estimate
    from crsdun.scenes import Scene

__version__ = "0.1.0"

_PARTS = ("evaluation", "networks", "optics", "runtime", "scenes", "solvers", "training", "viewing")
_HOMES = {
    "CassiCamera": "optics",
    "Estimate": "optics",
    "InputError": "optics",
    "Scene": "scenes",
    "create": "networks",
    "load": "networks",
    "save": "networks",
}

__all__ = [
    "CassiCamera",
    "Estimate",
    "InputError",
    "Scene",
    "__version__",
    "create",
    "evaluation",
    "load",
    "networks",
    "optics",
    "runtime",
    "save",
    "scenes",
    "solvers",
    "training",
    "viewing",
]


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return import_module(f"crsdun.{name}")
    if name in _HOMES:
        return getattr(import_module(f"crsdun.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'crsdun' has no attribute {name!r}")
