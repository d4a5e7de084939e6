"""What the machine does around a training: processes, signals, files."""
