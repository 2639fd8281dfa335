"""The OCI distribution API, as a client speaks it."""
