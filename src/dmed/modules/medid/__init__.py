"""See the manifest."""
