"""The tools over the Model Context Protocol, for coding agents.

An MCP client sits where a chat model sits: its calls become the messages of the ordinary loop, so that budgets, memory,
journal, trace, proof and report are those of every other run. Like a command line this package stands above its room,
and imports ``agent``.
"""
