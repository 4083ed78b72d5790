"""Contact sheets of the faces that would go, or are left out, before anything is dropped."""
