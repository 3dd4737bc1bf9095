"""Device code that somebody else has written: what is accepted of it, and how it becomes a kernel."""
