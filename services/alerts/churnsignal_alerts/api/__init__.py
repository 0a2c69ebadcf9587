"""Flow. HTTP: the API for people and tools, Slack's interactions, and the pages behind links."""
