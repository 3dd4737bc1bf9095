"""Results of captured launches beside float64."""
