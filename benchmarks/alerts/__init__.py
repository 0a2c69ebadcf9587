"""Alerts over a year of real transitions in simulated time: how many, how late, told twice, lost; and the same with Slack down on random days."""
