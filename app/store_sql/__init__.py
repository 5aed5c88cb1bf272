"""The parts of `app.store.SqlStore`: functions over an open transaction.

Order of locks, everywhere: the job's row first, then what is below it (trials, chores, events).  Whoever holds the row
of a job is alone with it, so its counters, its revision and the numbers of its events have no gaps and no races.
"""
