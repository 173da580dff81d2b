"""Import of licences from files, of a million rows."""
