"""Public checkpoints of the two-stage systems' networks become ours (those of CRSDUN: test_crsdun.py)."""

import pytest
import torch

from crsdun.errors import InputError
from crsdun.evaluation import parameters
from crsdun.networks import from_published
from tests.networks.stored import StoredRun, checkpoint

# Name of the key list → system, parameters, and where two of the last parameters go.
CHECKPOINTS = {
    "ssr_9stg": (
        "ssr",
        5_427_093,
        ("stages.8.cube_network.node1.ffn.mix.weight", "net_stage.16.up1.SARB.FFN.fn.net.2.weight"),
        ("stages.8.estimate.mlp.4.weight", "rhos.8.mlp.4.weight"),
    ),
    "rcump_9stg": (
        "rcump",
        9_467_103,
        ("stages.8.network.decoder.2.around.2.1.bias", "net_stage.16.Ublock.up3.spectral.4.bias"),
        ("stages.8.step.mlp.4.weight", "net_stage.17.mlp.4.weight"),
    ),
    "mstpp": (
        "mstpp",
        1_333_950,
        ("bodies.2.node2.attention.position.2.weight", "body.2.decoder_layers.0.2.blocks.0.0.pos_emb.2.weight"),
        ("out.weight", "conv_out.weight"),
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_checkpoints_are_taken_in(name, prefix):
    system, count, *places = CHECKPOINTS[name]
    theirs = checkpoint(name, prefix)
    network = from_published(system, theirs)
    assert not network.training
    assert network.config.bands == 28
    assert parameters(network) == count
    for ours, key in places:
        assert torch.equal(network.state_dict()[ours], theirs[prefix + key])


def test_stages_are_inferred_from_the_keys():
    theirs = checkpoint("ssr_9stg")
    few = {key: value for key, value in theirs.items() if not key.startswith(("rhos.", "net_stage."))}
    few |= {
        key: value for key, value in theirs.items() if key.startswith(("rhos.0.", "net_stage.0.", "net_stage.1."))
    }
    assert from_published("ssr", few).config.stages == 1


def test_index_tables_of_the_segmenter_are_dropped():
    run = StoredRun("seg", "seg_2stg_64x64")
    tables = {"bottleneck.blocks.0.0.fn.relative_position_index": torch.zeros(64, 64).long()}
    network = from_published("seg", run.weights | tables)
    assert network.config == run.network.config
    assert (network.config.stages, network.config.classes) == (2, 23)


def test_foreign_or_incomplete_state_dicts_are_refused():
    theirs = checkpoint("mstpp")
    with pytest.raises(InputError, match="no reader for published weights of 'unet'; there are crsdun, ssr"):
        from_published("unet", theirs)
    with pytest.raises(InputError, match=r"not a state dict of the authors' SSR .*checkpoint\['state_dict'\]"):
        from_published("ssr", theirs)
    with pytest.raises(InputError, match="weights_only=True"):
        from_published("mstpp", "weights.pth")
    del theirs["conv_out.weight"]
    with pytest.raises(InputError, match=r"whole MST\+\+ \(bands 28, bodies 3\): 1 parameters disagree, such as out"):
        from_published("mstpp", theirs)
