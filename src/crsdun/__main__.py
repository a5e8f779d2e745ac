"""``python -m crsdun`` is the command ``crsdun``."""

import sys

from crsdun.cli import main

sys.exit(main())
