"""Arrays → numbers: pure functions."""
