"""The finished video: swap, blend, encode, papers. Imports curate, reports and train."""
