"""The artifact report as a page."""
