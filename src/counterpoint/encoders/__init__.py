"""View → features: one network a file; the file's name is its kind."""
