"""Provenance of a video: manifest, signing keys, registry, watermark."""
