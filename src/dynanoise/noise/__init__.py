"""Sources of randomness: fresh noise, keyed noise, and the streams and keys they are made of."""
