"""What of a video is worth learning from: its shots and pairs chosen, and kept as frames in a folder."""
