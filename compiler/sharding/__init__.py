"""Pipeline sharding: a device segment as stages on cores of their own, balanced by the cost rules.

`order` and `line` lay the segment's work out in one line; `costs` prices it; `balance` says where to cut; `division`
splits nodes at the cuts (`split`) and makes a graph per stage (`cut`); `stages` builds and times them; `calibrate`
corrects the prices, and `sharder` goes round until nothing gains. `demands` is what the rest of the compiler calls.
"""
