"""A folder for sys.path, where processes that do not know of ctune.compat find `ray`."""
