"""A quarter of many accounts in simulated time: how long `churnsignal-backtest run` takes to replay and close it."""
