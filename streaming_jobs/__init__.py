"""CSV files dropped in a folder become three Delta tables that stay right.

The route of the data is the route through the code:

    commands   the command line: parse, call one function, print, exit code; `__main__` starts it
    bronze     new and changed files -> bronze; append, or replace the rows of one file
    silver     bronze changes -> silver, the newest valid row per key; refused rows -> quarantine
    gold       silver changes -> gold; the touched groups computed again

`rules` says what rows mean and is pure; `landing` and `probe` look at files; `streams` and `tables`
are the mechanism; `ledger` keeps the books; `contract` and `settings` say what was asked for.
"""
