"""Tables of results, one kind a file, with the sentences that belong below them."""
