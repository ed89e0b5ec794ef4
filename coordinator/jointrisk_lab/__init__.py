"""What joining would bring: the whole study on tables at hand, before anybody signs.

It plays coordinator and members in one process, so it stands above both roles and nothing imports it.
"""
