"""The explorer: a page in the browser that opens, decodes, compares and explains measurements.

A small web server on this machine, started by ``crsdun app``. The page asks it for pictures and spectra, and nothing
else for anything. What it computes is the package's own: the page only shows.

- ``server`` the requests · ``guard`` who may send them · ``sessions`` one visitor and their files
- ``uploads`` what comes in · ``subject`` what is open · ``running`` decode and simulate, with progress and cancel
- ``pictures`` and ``spectra`` what is looked at · ``samples`` samples and weights · ``page/`` HTML, CSS, JavaScript
"""
