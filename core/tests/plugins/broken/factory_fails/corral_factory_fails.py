"""Its factory raises."""


def broken(server="localhost"):
    raise OSError(f"no route to {server}")
