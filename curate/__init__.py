"""Footage in, curated faceset out. Imports none of the other packages."""
