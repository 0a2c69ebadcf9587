"""Flow. Checkpoints of the scoring schema, rebuilding from one by replaying the log, and the proof that both agree."""
