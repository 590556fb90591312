"""What a person does with a store: list, verify, clean, share. One file a group of `trtpipe cache` commands."""
