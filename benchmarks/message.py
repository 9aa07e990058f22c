"""The one message that everybody sends, composed anew for each mail, and where it goes."""

from dataclasses import dataclass
from typing import Final

SENDER: Final = "noreply@example.com"
SENDER_NAME: Final = "Example Shop"
TO: Final = "someone@mail.test"  # the domain of the Postfix that the tests start
SUBJECT: Final = "Your order has shipped"
TEXT: Final = "Hello,\n\nyour order has shipped and will arrive tomorrow.\n" * 10
HTML: Final = "<p>Hello,</p><p>your order has shipped and will arrive tomorrow.</p>" * 10


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server to send to: in plain text without login, or by STARTTLS with one."""

    host: str
    port: int
    starttls: bool = False
    username: str = ""
    password: str = ""
    ca_file: str = ""


NOWHERE: Final = Target(host="127.0.0.1", port=25)  # for what sends nothing
