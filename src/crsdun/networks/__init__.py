"""How a measurement becomes a cube and a class map: the learnt methods."""

from crsdun.networks.authors import from_authors, from_published
from crsdun.networks.checkpoint import load, read_header, save
from crsdun.networks.crsdun import Crsdun, CrsdunConfig
from crsdun.networks.joined import Joined, JoinedConfig
from crsdun.networks.mstpp import Mstpp, MstppConfig
from crsdun.networks.network import Card, Network, fit_to_card
from crsdun.networks.rcump import Rcump, RcumpConfig
from crsdun.networks.seg import SegConfig, Segmenter
from crsdun.networks.shipped import find_weights, shipped
from crsdun.networks.ssr import Ssr, SsrConfig
from crsdun.networks.zoo import create, join

__all__ = [
    "Card",
    "Crsdun",
    "CrsdunConfig",
    "Joined",
    "JoinedConfig",
    "Mstpp",
    "MstppConfig",
    "Network",
    "Rcump",
    "RcumpConfig",
    "SegConfig",
    "Segmenter",
    "Ssr",
    "SsrConfig",
    "create",
    "find_weights",
    "fit_to_card",
    "from_authors",
    "from_published",
    "join",
    "load",
    "read_header",
    "save",
    "shipped",
]
