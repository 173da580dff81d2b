"""What may be issued, by whom and to whom: licence types, departments, numbers, terms."""
