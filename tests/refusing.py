"""How a command refuses: with exit code 2 and one line, and nothing else."""

import os

from crsdun.cli import main


def refuse(capsys, *arguments: object) -> str:
    """The one line with which a command is refused; nothing may be left behind."""
    before = sorted(os.listdir())
    capsys.readouterr()
    try:
        code = main([*map(str, arguments)])
    except SystemExit as end:  # of argparse
        code = end.code
    captured = capsys.readouterr()
    assert code == 2, captured
    assert captured.out == ""
    assert captured.err.startswith("crsdun: ")
    assert captured.err.count("\n") == 1, captured.err
    assert "this is a fault of crsdun" not in captured.err
    assert sorted(os.listdir()) == before
    return captured.err
