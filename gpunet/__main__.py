"""`python -m gpunet` is the command `gpunet`."""

import sys

from gpunet.cli.main import main

sys.exit(main())
