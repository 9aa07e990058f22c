"""Another worker process for the durable measurement; each line wakes it, as a broker's message would."""

from pathlib import Path

from benchmarks.application import opened
from benchmarks.child import answer, questions, settings_line
from services.worker import threads


def main() -> None:
    settings = settings_line()
    with opened(settings["variables"], Path(settings["folder"])) as app:
        mail_worker = threads.start(app)
        answer(ready=True)
        for _ in questions():
            mail_worker.wake()
            answer(woken=True)
        mail_worker.stop()


if __name__ == "__main__":
    main()
