"""Systems that load training batches, and how throughput.py measures them."""
