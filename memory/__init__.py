"""Every attempt of every run, in one SQLite file. Processes share the file, and people merge theirs."""
