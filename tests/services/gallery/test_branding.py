"""Two browsers save the branding at once."""

import threading

from flask import Flask

from services.gallery import branding
from utils.errors import Conflict


def test_of_those_who_save_at_once_one_does_and_the_others_hear_of_it(app: Flask) -> None:
    found: list[str] = []

    def save(name: str) -> None:
        with app.app_context():
            try:
                branding.save({"name": name}, version=0)
                found.append("saved")
            except Conflict:
                found.append("conflict")

    threads = [threading.Thread(target=save, args=(str(number),)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["conflict"] * 4 + ["saved"]
    assert branding.saved().version == 1
