"""Claims: what papers say, as small experiments, one file each in the folder of its field."""
