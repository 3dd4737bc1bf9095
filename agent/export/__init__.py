"""Runs for other eyes: one web page, and the formats of other tools."""
