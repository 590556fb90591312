"""The job of proving engines that exist: run on a GPU against their reference, or built again and compared.

Belongs here: `validate`, `golden` and `build --check`. The verdict on a cell as it is built is in `delivery/`.
"""
