"""Building blocks of pages: templates, charts, pictures."""
