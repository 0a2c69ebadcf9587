"""How long from a product's HTTP call to the message of the customer success manager, and where the time goes."""
