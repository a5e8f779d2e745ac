"""crsdun: joint reconstruction and semantic segmentation from one coded snapshot (CASSI).

light → measurement → cube + classes → someone looks at it:

- ``crsdun.optics`` the camera · ``crsdun.scenes`` cubes, labels and file formats
- ``crsdun.networks`` and ``crsdun.solvers`` measurement → cube (+ classes), learnt and training-free;
  ``crsdun.methods`` the one interface over both
- ``crsdun.classifiers`` a few marked pixels → a classifier of spectra
- ``crsdun.training`` · ``crsdun.evaluation`` · ``crsdun.runtime`` · ``crsdun.viewing`` · ``crsdun.experiments``

Importing the package is quick; PyTorch is loaded when a camera, network or solver is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crsdun.showing import show_with
from crsdun.version import __version__

if TYPE_CHECKING:
    from crsdun import (
        classifiers,
        evaluation,
        experiments,
        methods,
        networks,
        optics,
        runtime,
        scenes,
        solvers,
        training,
        viewing,
    )
    from crsdun.errors import InputError
    from crsdun.methods import register_solver
    from crsdun.networks import create, load, register_network, save
    from crsdun.optics import CassiCamera, Estimate
    from crsdun.runtime import list_methods, push, reconstruct
    from crsdun.scenes import Scene, register_dataset
    from crsdun.training import register_loss

_PARTS = (
    "classifiers", "evaluation", "experiments", "methods", "networks", "optics", "runtime", "scenes", "solvers",
    "training", "viewing",
)  # fmt: skip
_HOMES = {
    "CassiCamera": "optics",
    "Estimate": "optics",
    "InputError": "errors",
    "Scene": "scenes",
    "create": "networks",
    "list_methods": "runtime",
    "load": "networks",
    "push": "runtime",
    "reconstruct": "runtime",
    "register_dataset": "scenes",
    "register_loss": "training",
    "register_network": "networks",
    "register_solver": "methods",  # which knows the names of networks and weights as well
    "save": "networks",
}

__all__ = [
    "CassiCamera",
    "Estimate",
    "InputError",
    "Scene",
    "__version__",
    "classifiers",
    "create",
    "evaluation",
    "experiments",
    "list_methods",
    "load",
    "methods",
    "networks",
    "optics",
    "push",
    "reconstruct",
    "register_dataset",
    "register_loss",
    "register_network",
    "register_solver",
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


# What a notebook shows is drawn by the part that draws everything, loaded when something is shown.
show_with(lambda thing: import_module("crsdun.viewing.notebook").as_html(thing))
