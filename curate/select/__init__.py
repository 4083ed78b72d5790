"""Choosing faces: the diversity space, clusters, coverage, gaps, facility location."""
