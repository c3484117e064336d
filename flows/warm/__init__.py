"""The warm worker: each run in a process of its own, forked from a parent that has imported everything already.

``worker``, a Prefect worker, asks Prefect for runs and hands each over through ``client`` to ``server``, a process that
does nothing but fork. A forked child waits in ``child``, connected, until it is given a run.
No flow knows of any of it.
"""
