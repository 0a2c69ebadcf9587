"""Pure. The product's default mapping and scorecard, their schemas, and how such files become policy."""
