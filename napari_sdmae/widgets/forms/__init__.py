"""Forms made from the settings' own definitions."""
