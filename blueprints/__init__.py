"""The HTTP face. A route parses, calls one service and answers."""
