"""Reads capture files in our own processes: what was launched, its arguments made anew, the space around a launch."""
