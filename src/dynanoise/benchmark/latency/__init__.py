"""Time and memory of answers, with a defense beside without one."""
