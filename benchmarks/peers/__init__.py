"""Other ways to the same tables: one script each, `python -m benchmarks.peers.NAME HOME`, which makes one increment."""
