"""Evaluation of swaps: figures that a table can compare, whoever made the video."""
