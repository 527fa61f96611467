"""Speed, side by side with peers where their code is at hand."""
