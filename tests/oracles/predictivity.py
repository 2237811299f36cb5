"""Cross-validated ridge regression with scikit-learn, every left-out unit refitted; nothing of the package is here."""

import numpy as np
from sklearn.linear_model import Ridge


def r2(X, Y, units, fold, alphas):
    residual = total = 0.0
    for k in np.unique(fold):
        x, y, u = X[fold != k], Y[fold != k], units[fold != k]
        Z = x - x.mean(axis=0)
        scale = (Z**2).sum() / min(
            X.shape
        )  # the trace of the scatter over the number of directions that n rows can have
        errors = []
        for alpha in alphas:
            error = 0.0
            for unit in np.unique(u):
                model = Ridge(alpha=alpha * scale, solver="svd").fit(x[u != unit], y[u != unit])
                error += ((y[u == unit] - model.predict(x[u == unit]).reshape(-1, Y.shape[1])) ** 2).sum()
            errors.append(error)
        model = Ridge(alpha=alphas[int(np.argmin(errors))] * scale, solver="svd").fit(x, y)
        held = fold == k
        residual += ((Y[held] - model.predict(X[held]).reshape(-1, Y.shape[1])) ** 2).sum()
        total += ((Y[held] - y.mean(axis=0)) ** 2).sum()
    return 1 - residual / total
