"""HTTP to one endpoint: connections, trust, faults, retries and rates."""
