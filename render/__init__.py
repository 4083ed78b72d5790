"""The finished video: swap, blend, encode, sign. Imports curate, reports and train."""
