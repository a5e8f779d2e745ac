"""How a measurement becomes a cube and a class map: the learnt methods."""

from crsdun.networks.checkpoint import load, read_header, save
from crsdun.networks.checkpoint_adapters import from_authors, from_published
from crsdun.networks.crsdun import Crsdun, CrsdunConfig
from crsdun.networks.mstpp import Mstpp, MstppConfig
from crsdun.networks.network import ModelCard, Network, fit_to_card
from crsdun.networks.pretrained import find_weights, pretrained_weights
from crsdun.networks.rcump import Rcump, RcumpConfig
from crsdun.networks.segmenter import SegConfig, Segmenter
from crsdun.networks.ssr import Ssr, SsrConfig
from crsdun.networks.two_stage import TwoStageConfig, TwoStageNetwork
from crsdun.networks.zoo import create, join

__all__ = [
    "Crsdun",
    "CrsdunConfig",
    "ModelCard",
    "Mstpp",
    "MstppConfig",
    "Network",
    "Rcump",
    "RcumpConfig",
    "SegConfig",
    "Segmenter",
    "Ssr",
    "SsrConfig",
    "TwoStageConfig",
    "TwoStageNetwork",
    "create",
    "find_weights",
    "fit_to_card",
    "from_authors",
    "from_published",
    "join",
    "load",
    "pretrained_weights",
    "read_header",
    "save",
]
