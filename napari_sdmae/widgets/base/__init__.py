"""What every dock is built of: frame, text, dialogs, background work."""
