"""What rows mean: pure functions from frames to frames, without paths, clocks or tables.

casts       a delivered string -> a typed value, or NULL
judgement   Bronze rows -> typed rows, each with the reasons why it is refused
versions    which of several rows of one key is the newest, and what that changes in Silver
"""
