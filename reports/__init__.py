"""Pages and numbers about facesets and renders. Imports curate."""
