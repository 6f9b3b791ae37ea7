"""What networks cost: MACs, parameters, latency, and published counts beside them."""
