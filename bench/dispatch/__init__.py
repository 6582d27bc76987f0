"""Runs many runs: in this process, in several, or on a cluster, with progress."""
