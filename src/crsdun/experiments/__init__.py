"""What puts all of it together: tables of systems, evaluations, costs, benchmarks and the demonstration."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crsdun.experiments.bench import benchmark
    from crsdun.experiments.demo import write_demo
    from crsdun.experiments.table_config import TableConfig, load_table
    from crsdun.experiments.tables import make_table

# Each loads only what it needs, when it is first used.
_HOMES = {
    "TableConfig": "table_config",
    "benchmark": "bench",
    "load_table": "table_config",
    "make_table": "tables",
    "write_demo": "demo",
}

__all__ = ["TableConfig", "benchmark", "load_table", "make_table", "write_demo"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
