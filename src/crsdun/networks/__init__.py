"""How a measurement becomes a cube and a class map: the learnt methods."""

from crsdun.networks.authors import from_authors
from crsdun.networks.checkpoint import load, read_header, save
from crsdun.networks.crsdun import Crsdun, CrsdunConfig
from crsdun.networks.network import Card, Network, fit_to_card
from crsdun.networks.zoo import create

__all__ = [
    "Card",
    "Crsdun",
    "CrsdunConfig",
    "Network",
    "create",
    "fit_to_card",
    "from_authors",
    "load",
    "read_header",
    "save",
]
