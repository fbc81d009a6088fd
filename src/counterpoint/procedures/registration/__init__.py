"""Other people's registration, behind one call: the rivals we are measured against."""
