"""How far a network is while it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def report_layers(network: nn.Module, progress: Callable[[int, int], None] | None) -> Iterator[None]:
    """Inside the block the layers of a network tell ``progress`` how many have begun, (done, total).

    A layer that is used several times counts once. What ``progress`` raises comes out of the network, which is how
    a computation is ended early.
    """
    if progress is None:
        yield
        return
    layers = [module for module in network.modules() if next(module.children(), None) is None]
    begun: set[nn.Module] = set()

    def begin(layer: nn.Module, _: Any) -> None:
        begun.add(layer)
        progress(len(begun), len(layers))

    hooks = [layer.register_forward_pre_hook(begin) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
