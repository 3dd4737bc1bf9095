"""A launch of a program that nobody changed, as a kernel that can be tuned like any other."""
