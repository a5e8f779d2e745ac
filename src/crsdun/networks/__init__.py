"""How a measurement becomes a cube and a class map: the learnt methods."""

from crsdun.networks.checkpoint import load, read_header, save
from crsdun.networks.checkpoint_adapters import from_published
from crsdun.networks.crsdun import Crsdun, CrsdunConfig
from crsdun.networks.mstpp import Mstpp, MstppConfig
from crsdun.networks.network import Network, NetworkConfig, ReconstructionConfig
from crsdun.networks.pretrained import (
    earlier_weights,
    find_weights,
    name_of_weights,
    pretrained_weights,
    record_of_weights,
)
from crsdun.networks.rcump import Rcump, RcumpConfig
from crsdun.networks.segmenter import SegConfig, Segmenter
from crsdun.networks.ssr import Ssr, SsrConfig
from crsdun.networks.transfer import Transfer, take_over
from crsdun.networks.two_stage import TwoStageConfig, TwoStageNetwork
from crsdun.networks.zoo import create, join, register_network

__all__ = [
    "Crsdun",
    "CrsdunConfig",
    "Mstpp",
    "MstppConfig",
    "Network",
    "NetworkConfig",
    "Rcump",
    "RcumpConfig",
    "ReconstructionConfig",
    "SegConfig",
    "Segmenter",
    "Ssr",
    "SsrConfig",
    "Transfer",
    "TwoStageConfig",
    "TwoStageNetwork",
    "create",
    "earlier_weights",
    "find_weights",
    "from_published",
    "join",
    "load",
    "name_of_weights",
    "pretrained_weights",
    "read_header",
    "record_of_weights",
    "register_network",
    "save",
    "take_over",
]
