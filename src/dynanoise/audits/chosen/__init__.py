"""An attacker of one model who chooses its inputs, with shadow models of its own."""
