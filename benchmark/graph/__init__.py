"""The stage graph and what walks over it: status, local execution, Ray, torchrun, tracking."""
