"""Sphinx settings: the Markdown pages of this folder as HTML."""

project = "counterpoint"
extensions = ["myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
