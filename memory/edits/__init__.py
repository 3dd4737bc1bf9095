"""What is remembered of edited device code."""
