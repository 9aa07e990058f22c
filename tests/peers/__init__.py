"""Mail servers that others wrote, started here to be sent to: ``python -m tests.peers`` tries each of them once."""
