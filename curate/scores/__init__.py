"""Scores of a face: expression, lighting, occlusion, quality, identity."""
