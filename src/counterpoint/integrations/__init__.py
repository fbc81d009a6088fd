"""Other programs: what is learned here in their formats, and our parts in their frameworks."""
