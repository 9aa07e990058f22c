"""Ways to use Sealpost from another application; docs/embedding.md says how. Each of these files runs in a test."""
