"""Maintenance: the state of the installation, pruning crops, forgetting a subject."""
