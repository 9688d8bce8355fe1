"""What config.yaml says: its models, its wording of mistakes, the values with their origins."""
