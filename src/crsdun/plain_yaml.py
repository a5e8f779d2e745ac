"""YAML as people mean it: numbers as in YAML 1.2, and no key twice.

PyYAML reads YAML 1.1, in which 010 is 8 and 1:30 is 90, and takes the last of two equal keys.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

# The core schema (YAML 1.2.2, section 10.3.2), and digits in groups as in 1_000.
INTEGER = re.compile(r"(?:[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
NUMBER = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)
TAG = "tag:yaml.org,2002:"
REPLACED = {f"{TAG}int", f"{TAG}float", f"{TAG}timestamp"}
BASES = {"0o": 8, "0x": 16}


class NotYamlError(ValueError):
    """What is wrong with a text, in words that follow its name: ``is not valid YAML from line 3 on``."""


def parse_yaml(text: str | bytes) -> Any:
    """The plain values of YAML; dates are text.

    Raises:
        NotYamlError: it is not YAML, or a key stands twice in one place.
    """
    import yaml

    try:
        return yaml.load(text, _loader())  # a SafeLoader
    except NotYamlError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: thousands of digits
        mark = getattr(error, "problem_mark", None)
        raise NotYamlError(f"is not valid YAML{f' from line {mark.line + 1} on' if mark else ''}") from error


@cache
def _loader() -> Any:
    """The class that reads; PyYAML is loaded only where there is YAML."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in known if tag not in REPLACED]
            for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            lines: dict[str, int] = {}
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != f"{TAG}merge":
                    line = key.start_mark.line + 1
                    if key.value in lines:
                        where = " and ".join(dict.fromkeys(map(str, (lines[key.value], line))))
                        raise NotYamlError(f"has the key {key.value!r} twice, on line {where}")
                    lines[key.value] = line
            return node

    def integer(loader: Any, node: Any) -> int:
        written = loader.construct_scalar(node).replace("_", "")
        return int(written[2:], BASES[written[:2]]) if written[:2] in BASES else int(written)

    Loader.add_implicit_resolver(f"{TAG}int", INTEGER, list("-+0123456789"))
    Loader.add_implicit_resolver(f"{TAG}float", NUMBER, list("-+.0123456789"))
    Loader.add_constructor(f"{TAG}int", integer)
    return Loader
