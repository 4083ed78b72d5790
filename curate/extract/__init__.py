"""Footage to a faceset: decode, score, build the table, find the subject."""
