"""Risks: what each node adds to the risk of the tree when it is a leaf. One function a risk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skprune.trees.arrays import TreeArrays

__all__ = ["impurity_risk", "misclassification_risk"]

Floats = NDArray[np.float64]


def impurity_risk(tree: TreeArrays) -> Floats:
    """Return the impurity of each node, weighted by the share of the training data it holds.

    ``R(t) = (w_t / w_root) * impurity(t)``, with ``w_t`` the weight of the training rows in node t.
    It is the risk of scikit-learn's ``ccp_alpha`` [1]_, with whatever criterion the tree was grown
    by.

    Parameters
    ----------
    tree : TreeArrays

    Returns
    -------
    ndarray of shape (n_nodes,), float64

    References
    ----------
    .. [1] scikit-learn User Guide, "Minimal Cost-Complexity Pruning".

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeRegressor
    >>> from skprune.trees.arrays import TreeArrays
    >>> from skprune.trees.risks import impurity_risk
    >>> tree = DecisionTreeRegressor().fit([[0], [1], [2], [3]], [0.0, 0.0, 4.0, 4.0]).tree_
    >>> impurity_risk(TreeArrays.from_sklearn(tree))
    array([4., 0., 0.])
    """
    return _share(tree) * tree.impurity


def misclassification_risk(tree: TreeArrays) -> Floats:
    """Return the weight of the training rows that each node would get wrong, as a share of all.

    ``R(t) = (w_t - max_k w_tk) / w_root``, with ``w_tk`` the weight of the rows of class k in node
    t: the resubstitution estimate that CART prunes by [1]_. Over several outputs it is the mean, as
    scikit-learn's impurity is.

    Parameters
    ----------
    tree : TreeArrays
        Of a classifier. Values may be fractions of the node's weight or, as scikit-learn stored
        them before 1.3, weights.

    Returns
    -------
    ndarray of shape (n_nodes,), float64

    Raises
    ------
    ValueError
        If the values of a tree with splits are not over two or more classes.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, "Classification and Regression Trees",
       1984, sections 2.4 and 3.2.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from skprune.trees.arrays import TreeArrays
    >>> from skprune.trees.risks import misclassification_risk
    >>> tree = DecisionTreeClassifier().fit([[0], [1], [2], [3]], [0, 1, 1, 1]).tree_
    >>> misclassification_risk(TreeArrays.from_sklearn(tree))
    array([0.25, 0.  , 0.  ])
    """
    n_classes = tree.value.shape[2]
    if n_classes < 2 and tree.n_splits:
        raise ValueError(
            "misclassification_risk needs the tree of a classifier, "
            f"got values over {n_classes} class: those of a regressor."
        )
    total = tree.value.sum(axis=2)
    # A lone class, or a node without weight, has nothing to get wrong.
    wrong = np.divide(
        total - tree.value.max(axis=2), total, out=np.zeros_like(total), where=total != 0.0
    )
    return _share(tree) * wrong.mean(axis=1)


def _share(tree: TreeArrays) -> Floats:
    return tree.weighted_n_node_samples / tree.weighted_n_node_samples[0]
