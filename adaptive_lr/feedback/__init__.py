"""What happens around one update: reading, probing and revising the optimizer's step, for one model or for B trials."""
