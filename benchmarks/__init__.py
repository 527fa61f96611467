"""Speed, side by side with others; see README.md."""
