"""What is known of an installation without starting anything: one model, which `status` prints and `report` draws.

gather   reads ledger, tables, checkpoints and landing folders -> model
arrivals when files come, how many rows they have, what was promised: pure, with `now` as an argument
hands    what needs a hand, each with the command that helps: pure
"""
