"""The page of a whole project: every result with its verdict, a picture and a link."""
