"""What a kernel's source says, apart from where it stands and how it is written."""
