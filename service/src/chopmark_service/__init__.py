"""What each service of Chopmark is made of, at its edge."""
