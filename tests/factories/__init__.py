"""Made-up inputs for tests, one file for each kind of thing."""
