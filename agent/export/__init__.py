"""Exports a run as one web page or in the formats of other tools."""
