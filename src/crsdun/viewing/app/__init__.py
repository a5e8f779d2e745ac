"""The explorer: a page in the browser that opens, decodes, compares and explains measurements.

A small web server on this machine, started by ``crsdun app``. The page asks it for pictures and spectra, and asks
nothing of any other server. Everything is computed by the package's own functions; the page only shows it.

- ``server`` the application and how it starts · ``guard`` who may talk to it · ``routes`` what each request does
- ``requests`` what the page may ask for · ``payloads`` what it is answered · ``wording`` errors in its terms
- ``workspace`` one tab and what it can do · ``workspace_store`` all of them · ``open_scene`` what is open in one
- ``uploads`` files that come in · ``samples`` · ``jobs`` decoding and simulating, with progress and cancel
- ``classes`` classes from regions that are called like them
- ``references`` spectra of libraries, beside those of the scene
- ``pictures`` and ``spectra`` what is looked at · ``page/`` HTML, CSS and JavaScript
"""
