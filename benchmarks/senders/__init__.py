"""Each module here sends the message N times in its own way.

``sender(target, **options)`` is a context manager that gives the function to call with N; it raises if any mail
was not accepted.
"""
