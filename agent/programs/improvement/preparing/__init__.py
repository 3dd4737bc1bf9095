"""Prepares the launches of a capture for their search, several at once and while others are searched.

1. ``ahead.py``: float64 references, and the processes that the next runs need.
2. ``compilations.py``: what a launch's survey and its search need first, compiled on all cores.
3. ``surveys.py``: what is known of a launch before its search.
"""
