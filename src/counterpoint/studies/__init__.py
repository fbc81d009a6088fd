"""Studies: comparisons of arms, one file each."""
