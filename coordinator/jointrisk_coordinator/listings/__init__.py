"""The logs of sealed listings at the coordinator: taken, stamped, shuffled, released, served. It can open none of them.

intake      appends, marks, renewals of members, each durable before it is acknowledged
releasing   what has waited goes into the log, with a signed head, in one transaction
heads       which epochs have a log, their heads, their end
desk        all of it, as the service and the operator use it
keeping     does in time what is due
"""
