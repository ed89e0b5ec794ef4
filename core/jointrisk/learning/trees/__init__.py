"""Boosted trees on summed histograms: members add up, for each leaf, feature and bin, what their rows' gradients are.

    coordinator                                     member
    -----------                                     ------
    Grower(...)                                     Lender(...)
      .request() -- tree so far, rows before ---->  .answer(request)
      .take(totals) <---------- summed ----------   whole numbers only
      ... one sum for each level ...
    .tree -> Forest.with_tree -- finished tree -->  .follow(tree)

A member checks before it answers that no leaf of few rows is asked about (`checks`).

Everything here is computed from arguments: no files, sockets, clocks, or randomness of its own. What is summed are
whole numbers, so the trees are those of the same algorithm on pooled rows, bit for bit, where rows are rounded alike.
"""
