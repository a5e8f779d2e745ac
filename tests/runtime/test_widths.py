"""How many bands the widths of a mask and of a measurement tell."""

import pytest

from crsdun.errors import InputError
from crsdun.runtime.preparation import bands_from_widths


@pytest.mark.parametrize(("span", "step", "bands"), [(54, 2, 28), (54, -2, 28), (41, 1.5, 28), (15, 4.8, 4)])
def test_the_bands_that_have_these_widths(span, step, bands):
    assert bands_from_widths(64 + span, 64, step) == bands


@pytest.mark.parametrize(
    ("span", "step", "words"),
    [
        (14, 0.5, "has 28 or 29 bands at step 0.5: the widths do not tell; set bands"),
        (14, 0.25, "has 54 to 57 bands"),
        (53, 2, "fits no number of bands at step 2"),
        (0, 2, "nothing was dispersed"),
        (-1, 2, "fits no number"),
    ],
)
def test_widths_that_do_not_tell_are_refused(span, step, words):
    with pytest.raises(InputError, match=words):
        bands_from_widths(64 + span, 64, step)
