"""What must survive a crash: the seam to the file system, its simulator, and the checkpoints."""
