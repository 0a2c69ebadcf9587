"""Pure. The inbox: a Slack workspace and a mail server for machines that have neither."""
