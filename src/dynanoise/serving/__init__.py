"""The gateway: the defense in front of a served model, over HTTP and gRPC."""
