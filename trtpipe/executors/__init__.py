"""Executors: how an action runs. One file a kind; none sees the plan or decides freshness."""
