"""Where a video comes from: manifest, signing keys, registry, watermark."""
