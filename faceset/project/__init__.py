"""A whole project in one file: what it says, what is missing or changed, the work, and the page that links it."""
