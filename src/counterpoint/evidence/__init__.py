"""Evidence: claims are run, judged, kept as JSON with a hash of the code, and listed."""
