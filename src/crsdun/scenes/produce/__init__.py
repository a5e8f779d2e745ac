"""Produce-23: the open benchmark, where a colour camera cannot tell real from fake and a spectral camera can.

23 classes: background, and 11 kinds of produce, each real and fake; 28 bands from 400 to 730 nm; 256 scenes to train
on, 25 to validate and 50 to test, rendered from measured reflectances, the same bytes on every machine.
docs/produce.md tells the whole story.
"""

from crsdun.scenes.produce.dataset import ProduceSet, StoredProduce, make_produce
from crsdun.scenes.produce.spectra import CLASS_NAMES

__all__ = ["CLASS_NAMES", "ProduceSet", "StoredProduce", "make_produce"]
