"""The layouts of challenges, one module each: `find(source, root)` gives the cases of a folder laid out so.

A module's name is the layout's in a challenge's YAML; other packages add theirs by entry points of the group
`sam_moe.layouts`. What all of them share is in `cases/source.py`.
"""
