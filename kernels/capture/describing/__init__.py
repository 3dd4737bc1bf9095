"""Describes one launch as plain data, inside the program that makes it."""
