"""Sheets of what a network does inside: complete, and labelled with what they show."""

import numpy as np
import pytest

from crsdun.errors import InputError
from crsdun.runtime.explanation import StageEstimate
from crsdun.viewing.explanation_figures import attention_sheet, stage_captions, stage_sheet
from tests.runtime.test_explanation import explained, network, scene
from tests.viewing.reports import png_pixels


@pytest.fixture(scope="module")
def explanation():
    return explained(network(), truth=scene())


def test_a_stage_takes_a_column(explanation, tmp_path):
    stage_sheet(explanation, tmp_path / "stages.png")
    wide = png_pixels(tmp_path / "stages.png")
    stage_sheet(explained(network()), tmp_path / "untrue.png")
    assert wide.shape[1] > 1.3 * png_pixels(tmp_path / "untrue.png").shape[1]
    assert wide.std() > 20
    stage_sheet(explained(network("mstpp", bodies=1)), tmp_path / "cube.png")
    assert png_pixels(tmp_path / "cube.png").shape[0] < 0.7 * wide.shape[0]  # no class map


def test_captions_of_a_stage():
    first = {"data_residual": 0.068, "psnr_to_answer_db": 24.57, "same_class_as_answer": 0.818}
    assert stage_captions(StageEstimate(scene(), first)) == (
        "24.6 dB to the answer   residual 6.8%",
        "81.8% as in the answer",
    )
    with_truth = first | {"psnr_db": 22.01, "miou": 0.5}
    assert stage_captions(StageEstimate(scene(), with_truth)) == (
        "22.01 dB   residual 6.8%",
        "mIoU 0.500   81.8% as in the answer",
    )


def test_attention_is_drawn(explanation, tmp_path):
    pixel, other = explanation.pixel(20, 28), explanation.pixel(20, 29)
    commonest = int(np.bincount(explanation.answer.classes.ravel()).argmax())
    for name, attention in {"a": pixel, "b": other, "c": explanation.of_class(commonest)}.items():
        attention_sheet(explanation, attention, tmp_path / f"{name}.png")
    a, b, c = (png_pixels(tmp_path / f"{name}.png") for name in "abc")
    assert a.shape == b.shape == c.shape
    assert a.std() > 20
    assert (a != b).any()
    assert (a != c).mean() > 0.05
    without = explained(network("mstpp", bodies=1))
    with pytest.raises(InputError, match="no cross-aggregation"):
        attention_sheet(without, without.pixel(1, 1), tmp_path / "none.png")
