"""The protocol: data, episodes, training, evaluation, cost, suites and the command line."""
