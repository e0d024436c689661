"""A fuzzer of the commands: `python -m tests.fuzz --minutes 10`.

A case is a folder of files and one command line, drawn from a seed, a kind and a number. Whatever
the files hold and the flags say, the command has to succeed or to say in one line what is wrong.
"""
