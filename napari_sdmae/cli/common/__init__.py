"""What the commands share: arguments, inputs and outputs, progress, signals, streams."""
