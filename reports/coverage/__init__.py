"""The diversity and coverage page, and comparisons of facesets."""
