"""Patchwork: scenes without end for networks to learn from, of any kind and on any bands from 390 to 730 nm.

Things over each other, land from above, cloth, photographs in measured spectra, in all kinds of light; and
``produce-wild``, where the objects of Produce-23 lie in such scenes. See docs/patchwork.md.
"""

from crsdun.scenes.patchwork.dataset import PatchworkSet
from crsdun.scenes.patchwork.wild import WildProduceSet

__all__ = ["PatchworkSet", "WildProduceSet"]
