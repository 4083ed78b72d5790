"""Artifact measures, kinds and findings."""
