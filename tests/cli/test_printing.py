"""What several commands print."""

import pytest
from rich.table import Table

from crsdun.cli.printing import console


@pytest.mark.parametrize("name", ["[soil]", "soil [/dry]", "leaf [red]", ":apple:"])
def test_names_are_printed_by_their_letters(capsys, name):
    table = Table("class", name)
    table.add_row(name, "5")
    console().print(table)
    console().print(f"classes: {name}")
    assert capsys.readouterr().out.count(name) == 3
