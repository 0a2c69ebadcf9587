"""Pure. What calls mean: mapping.yaml with its default and schema, and how a call is read by it."""
