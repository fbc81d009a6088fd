"""Who is a positive of whom, and who a negative."""
