"""What compiles, checks and times a config."""
