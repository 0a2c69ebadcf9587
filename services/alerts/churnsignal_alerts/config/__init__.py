"""Pure. The shipped routing.yaml and its JSON Schema."""
