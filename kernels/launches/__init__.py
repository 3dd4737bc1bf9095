"""What a launch is given and what it writes: as plain data, and as live tensors."""
