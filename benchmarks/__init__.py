"""Measurements against peers, in one run each; `make benchmark`."""
