"""Build and try each way to install Sealpost for good: ``python -m tests.package`` (Debian, as root; ten minutes)."""

import logging
import sys

from tests.package import bare, image, machine, units


def main() -> None:
    logging.disable()
    machine.refuse_without_tools()
    try:
        image.compose()
        image.build()
        image.first_start()
        image.roles()
        units.booted()
        bare.two_commands()
    except machine.Failed as failed:
        sys.exit(f"FAILED: {failed}")
    print("Every way was installed and served.")


if __name__ == "__main__":
    main()
