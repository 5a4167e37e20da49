"""What the AWS half costs: `make bench-aws`. Programs, not tests: nothing here passes or fails."""
