"""How S3 is asked: as whom, where, how fast, and what its answers mean."""
