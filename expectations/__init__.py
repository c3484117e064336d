"""What good data is: one module per dataset, and the engine that runs it.

A suite module holds ``NAME``, ``KEY`` (the column that names a row) and ``suite()``. Copy ``transactions``,
edit it, and ``validate`` finds it by its file name; there is nothing to register.
"""
