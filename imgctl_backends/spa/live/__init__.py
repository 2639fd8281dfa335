"""Making one of the versions in a bucket the one that people get.

Three ways: a small object that names the version (`pointer`), the version's entry points
copied to the bucket's root (`root`), a key in a CloudFront KeyValueStore that a function
at the edge reads (`cloudfront-kvs`). What is live, and what was before, always stands in
the environment itself, so that every server knows the way back.
"""
