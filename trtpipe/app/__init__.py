"""The tasks that people use trtpipe for, one folder each; none imports another.

    author/     a first spec, export, migration, a look at data, the matrix for CI      init, export, migrate, data, ci
    prove/      engines run on a GPU against their reference, or built again            validate, golden, build --check
    engines/    engines used                                                            run, bench
    debug/      why a cell misses its thresholds or does not build                      debug, sensitivity
    look/       what a file or a cell is, and how two differ                            inspect, diff, which
    report/     the pages and files of a build                                          build, report
    upgrade/    the same cells on another TensorRT version                              upgrade
    store/      what a store's collector must keep                                      cache

`plan`, `build`, `lock` and `check` themselves are in `building/` and `checks/`, which every task may use.
"""
