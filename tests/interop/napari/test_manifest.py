"""What napari reads of the plugin before anything of it runs."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import crsdun

MANIFEST = Path(crsdun.__file__).parent / "interop" / "napari" / "napari.yaml"
if sys.version_info >= (3, 11):
    import tomllib


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_npe2_finds_the_manifest_valid_and_everything_it_names():
    code = f"from npe2.cli import app; app(['validate', {str(MANIFEST)!r}, '--imports'], standalone_mode=False)"
    assert run(code).strip().endswith("Manifest for 'crsdun' valid!")


def test_napari_finds_it_by_the_entry_point_of_the_package(viewer):
    import npe2

    found = [each for each in entry_points(group="napari.manifest") if each.name == "crsdun"]
    assert found, "the package was installed before it had this entry point: install it again"
    assert {each.value for each in found} == {"crsdun.interop.napari:napari.yaml"}
    manifest = npe2.PluginManager.instance().get_manifest("crsdun")
    assert {each.display_name for each in manifest.contributions.widgets} == {"Decode", "Spectra"}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="reads TOML")
def test_the_manifest_is_packaged():
    root = Path(crsdun.__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    assert "interop/napari/napari.yaml" in project["tool"]["setuptools"]["package-data"]["crsdun"]
    assert project["project"]["entry-points"]["napari.manifest"] == {"crsdun": "crsdun.interop.napari:napari.yaml"}


def test_the_package_does_not_import_napari():
    code = "import sys, crsdun, crsdun.interop.napari.layers, crsdun.interop.napari.reading; print(*sys.modules)"
    assert not {"napari", "qtpy", "magicgui", "torch", "PySide6"} & set(run(code).split())
