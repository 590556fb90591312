"""What of a store must be kept when it is collected."""
