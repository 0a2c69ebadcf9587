"""Pure. The product's default scorecard, its schema, and how such a file becomes policy."""
