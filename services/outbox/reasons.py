"""Why a queued mail is as it is, in words that stand in its row."""

from typing import Final

NO_SERVER: Final = "No mail server is usable."
PAUSED: Final = "The mail server failed several times; it is tried again soon."
THROTTLED: Final = "The sending limit is reached."
PINNED: Final = "It may have arrived through a server that cannot be used now; only that one may send it again."
NO_KEY: Final = "It was sealed with an APP_KEY that is not here. Restore it as APP_KEY_PREVIOUS."
LOST_WORKER: Final = "A worker died while it handed this mail over. It may have arrived."
TOO_LATE: Final = "Its time was over before it could be sent."
ALTERED: Final = "The row was changed outside of Sealpost, so it was not sent."
