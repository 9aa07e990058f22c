"""Which version of Sealpost this is. It is said here alone: packages, pages and reports read it from here."""

from typing import Final

VERSION: Final = "0.2.0"
