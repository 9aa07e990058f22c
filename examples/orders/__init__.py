"""A shop on top of Sealpost."""
