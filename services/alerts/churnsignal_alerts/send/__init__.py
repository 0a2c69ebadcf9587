"""Door. Hand a message to a provider and say what became of it."""
