"""The web page: static files, what they show of Records, and the server of `dynanoise demo`."""
