"""What `benchmarks.supervisors` is made of: the systems that are compared, and the rows of the comparison."""
