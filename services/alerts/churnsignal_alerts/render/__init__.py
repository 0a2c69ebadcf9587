"""Pure. From an episode to what a person reads: one card, shown as Slack blocks, as HTML and as plain text."""
