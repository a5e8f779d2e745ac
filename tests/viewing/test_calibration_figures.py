"""The picture of a calibration: its plots name what they show, however small the frames are."""

from crsdun.viewing.calibration_figures import AXIS, NARROWEST, TITLES
from crsdun.viewing.sheet import STYLE, shorten


def test_titles_are_whole_above_the_narrowest_plots():
    width = NARROWEST / len(TITLES) - AXIS
    assert [shorten(title, STYLE.text, width) for title in TITLES] == list(TITLES)
