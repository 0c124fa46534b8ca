"""python -m restframe"""

import sys

from restframe.cli.main import main

sys.exit(main())
