"""Produce-23: the open benchmark, where a spectral camera can tell real from fake and a colour camera cannot.

23 classes: background, and 11 kinds of produce, each real and fake; 28 bands from 400 to 730 nm; 256 scenes to train
on, 25 to validate and 50 to test, rendered from measured reflectances, the same bytes on every machine.
See docs/produce.md.
"""

from crsdun.scenes.produce.dataset import ProduceFiles, ProduceSet, StoredProduce, StoredSplit, make_produce
from crsdun.scenes.produce.spectra import CLASS_NAMES

__all__ = ["CLASS_NAMES", "ProduceFiles", "ProduceSet", "StoredProduce", "StoredSplit", "make_produce"]
