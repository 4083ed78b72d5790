"""Facesets in the FiftyOne App."""
