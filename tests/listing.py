"""What a person sees in a folder."""

from pathlib import Path


def visible(folder) -> list[str]:
    """The names in a folder that are not hidden, sorted."""
    return sorted(each.name for each in Path(folder).glob("[!.]*"))
