"""What several commands print alike."""

import pytest
from rich.table import Table

from crsdun.cli.printing import console, fit_words, unknown_words, warning_words
from crsdun.methods.verdict import MASK_DOUBT


def test_a_doubt_of_the_mask_names_its_remedy_wherever_it_is_said():
    doubted = f"WARNING: do not rely on this result: {MASK_DOUBT}"
    remedy = "if the mask has only moved, --refine-camera finds by how much"
    assert (
        warning_words(MASK_DOUBT, refined=False, among=" (1 of 3 frames)") == f"{doubted} (1 of 3 frames); {remedy}"
    )
    assert warning_words(MASK_DOUBT, refined=True) == doubted
    assert warning_words(None, refined=False) == ""


def test_pieces_of_the_line_of_a_result():
    assert fit_words({"data_residual": 0.0123}) == "data residual 1.23%"
    assert fit_words({"data_residual": 0.0123, "noise": 0.01}) == "data residual 1.23%, noise 1.00%"
    assert unknown_words({}) == ""
    assert unknown_words({"unknown": 0.25, "coverage": 0.9}).startswith("; 25.0% of the pixels are unknown")


@pytest.mark.parametrize("name", ["[soil]", "soil [/dry]", "leaf [red]", ":apple:"])
def test_names_are_printed_by_their_letters(capsys, name):
    table = Table("class", name)
    table.add_row(name, "5")
    console().print(table)
    console().print(f"classes: {name}")
    assert capsys.readouterr().out.count(name) == 3
