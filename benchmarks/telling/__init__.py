"""Root. How soon an alert is told, and what many open ones cost."""
