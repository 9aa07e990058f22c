"""Build and try each way to install Sealpost for good: ``python -m tests.package`` (Debian, as root; ten minutes).

``python -m tests.package units bare`` does these steps alone; all but the last need the image, which ``image`` builds.
"""

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Final

from tests.package import bare, image, machine, units

STEPS: Final[Mapping[str, Callable[[], None]]] = {
    "compose": image.compose,
    "image": image.build,
    "start": image.first_start,
    "roles": image.roles,
    "units": units.booted,
    "bare": bare.two_commands,
}


def main() -> None:
    wanted = sys.argv[1:] or list(STEPS)
    if unknown := set(wanted) - set(STEPS):
        sys.exit(f"No such step: {', '.join(sorted(unknown))}. There are: {', '.join(STEPS)}.")
    logging.disable()
    machine.refuse_without_tools()
    try:
        for name, step in STEPS.items():
            if name in wanted:
                step()
    except machine.Failed as failed:
        sys.exit(f"FAILED: {failed}")
    print(f"Tried, and all went well: {', '.join(wanted)}.")


if __name__ == "__main__":
    main()
