"""Whether counts are those of `make faults`; otherwise they are a twentieth."""

import os
from typing import Final

ALL: Final = os.environ.get("FAULTS") == "full"
