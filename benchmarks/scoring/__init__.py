"""Scoring with Postgres, exactly once, beside Quix Streams with state, at least once: CPU of the process per event."""
