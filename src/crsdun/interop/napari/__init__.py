"""A plugin for napari: files as layers, a dock that decodes measurements, and spectra by a click.

``napari.yaml`` is what napari reads of it (npe2), before anything of it is imported.

- ``reading`` files and folders · ``layers`` what napari is given of a scene, a measurement, a result · ``samples``
- ``decoding`` a layer and what was typed → a reconstruction · ``decode_dock`` the dock around it
- ``picking`` the spectra at places, and as CSV · ``spectra_dock`` their plot
- ``wording`` errors in the terms of these docks
"""
