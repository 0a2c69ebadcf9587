"""Flow. Replay files of past events through the engine, to see what it would have said."""
