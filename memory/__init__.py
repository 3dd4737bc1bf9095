"""What every run ever tried: one SQLite file that outlives runs, is shared by processes and merged between people."""
